import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { ProcessUser } from "./process-user.ts";

/** `O_PATH` of open(2) on Linux, which Node has no constant for: a descriptor that only marks a place. */
const O_PATH = 0o10000000;

/**
 * How a process of another user reaches files of the host. A folder that it can only come to through one it may not
 * search is handed over as a descriptor, and the paths in it begin with that (`/proc/self/fd/7/fs.sock`): nothing has
 * to be opened up on the host for it. Without a user all paths are what they are.
 */
export class PathAccess {
  readonly #folders: { readonly path: string; readonly handle: FileHandle; readonly fd: number }[] = [];

  /** `firstFd` is the number that the first folder will have in the process. */
  constructor(
    readonly user: ProcessUser | undefined,
    readonly firstFd: number,
  ) {}

  /** Descriptors for the process to inherit as `firstFd` and those that follow; they are ours until `close`. */
  get fds(): number[] {
    return this.#folders.map(({ handle }) => handle.fd);
  }

  /** Makes what is in `folder` reachable. */
  async addFolder(folder: string): Promise<void> {
    if (!this.user || this.#folders.some(({ path }) => path === folder)) return;
    if (await this.#searchable(folder)) return;
    const handle = await open(folder, O_PATH | constants.O_DIRECTORY);
    this.#folders.push({ path: folder, handle, fd: this.firstFd + this.#folders.length });
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
    await this.addFolder(dirname(real));
    const accessible = this.at(real);
    // A program may go by the name that it is called by.
    return accessible === real && (await this.#searchable(dirname(path))) ? path : accessible;
  }

  /** The path in the process of a file below a folder that was added; any other path stays as it is. */
  at(path: string): string {
    const folder = this.#folders.find((one) => path.startsWith(`${one.path}/`));
    return folder ? `/proc/self/fd/${folder.fd}${path.slice(folder.path.length)}` : path;
  }

  async close(): Promise<void> {
    for (const { handle } of this.#folders) await handle.close();
  }

  async #searchable(folder: string): Promise<boolean> {
    for (let path = folder; ; path = dirname(path)) {
      const { mode } = await stat(path).catch((error: unknown) => {
        throw HullError.wrap(`folder ${path}`, error);
      });
      if ((mode & 0o001) === 0) return false;
      if (path === dirname(path)) return true;
    }
  }
}
