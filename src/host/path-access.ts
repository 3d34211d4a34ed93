import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { ProcessUser } from "./process-user.ts";

/** `O_PATH` of open(2) on Linux, which Node has no constant for: a descriptor that only marks a place. */
const O_PATH = 0o10000000;

/**
 * How a process of another user reaches files of the host. A directory that it can only come to through one it may not
 * search is handed over as a descriptor, and the paths in it begin with that (`/proc/self/fd/7/fs.sock`): nothing has
 * to be opened up on the host for it. Without a user all paths are what they are.
 */
export class PathAccess {
  readonly #directories: { readonly path: string; readonly handle: FileHandle; readonly fd: number }[] = [];

  /** `firstFd` is the number that the first directory will have in the process. */
  constructor(
    readonly user: ProcessUser | undefined,
    readonly firstFd: number,
  ) {}

  /** Descriptors for the process to inherit as `firstFd` and those that follow; they are ours until `close`. */
  get fds(): number[] {
    return this.#directories.map(({ handle }) => handle.fd);
  }

  /** Makes what is in `directory` reachable. */
  async addDirectory(directory: string): Promise<void> {
    if (!this.user || this.#directories.some(({ path }) => path === directory)) return;
    if (await this.#searchable(directory)) return;
    const handle = await open(directory, O_PATH | constants.O_DIRECTORY);
    this.#directories.push({ path: directory, handle, fd: this.firstFd + this.#directories.length });
  }

  /** Makes a file reachable and returns its path in the process. Throws FailedPrecondition where its mode forbids it. */
  async addFile(path: string, use: "read" | "execute" = "read"): Promise<string> {
    if (!this.user) return path;
    const real = await realpath(path);
    const { mode } = await stat(real);
    if ((mode & (use === "read" ? 0o004 : 0o001)) === 0) {
      throw failedPrecondition(
        `${path}: an unprivileged user may not ${use} it (mode ${(mode & 0o777).toString(8)}); allow it (chmod o+${use === "read" ? "r" : "rx"})`,
      );
    }
    await this.addDirectory(dirname(real));
    const accessible = this.at(real);
    // A program may go by the name that it is called by.
    return accessible === real && (await this.#searchable(dirname(path))) ? path : accessible;
  }

  /** The path in the process of a file below a directory that was added; any other path stays as it is. */
  at(path: string): string {
    const directory = this.#directories.find((one) => path.startsWith(`${one.path}/`));
    return directory ? `/proc/self/fd/${directory.fd}${path.slice(directory.path.length)}` : path;
  }

  async close(): Promise<void> {
    for (const { handle } of this.#directories) await handle.close();
  }

  async #searchable(directory: string): Promise<boolean> {
    for (let path = directory; ; path = dirname(path)) {
      const { mode } = await stat(path).catch((error: unknown) => {
        throw HullError.wrap(`directory ${path}`, error);
      });
      if ((mode & 0o001) === 0) return false;
      if (path === dirname(path)) return true;
    }
  }
}
