import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { ProcessUser } from "./process-user.ts";

/** O_PATH of open(2), which Node's constants lack. */
const O_PATH = 0o10000000;

/**
 * Gives another user's process access to files. A directory that it cannot search its way to is passed as a
 * descriptor (`/proc/self/fd/7/fs.sock`), so no permission must change. Without a user, paths stay.
 */
export class PathAccess {
  readonly #directories: { readonly path: string; readonly handle: FileHandle; readonly fd: number }[] = [];

  /** `firstFd`: the number of the first directory's descriptor in the process. */
  constructor(
    readonly user: ProcessUser | undefined,
    readonly firstFd: number,
  ) {}

  /**
   * Descriptors for the process to inherit as `firstFd` and following; they belong to this object until
   * `close`.
   */
  get fds(): number[] {
    return this.#directories.map(({ handle }) => handle.fd);
  }

  /** Makes the files in `directory` accessible. */
  async addDirectory(directory: string): Promise<void> {
    if (!this.user || this.#directories.some(({ path }) => path === directory)) return;
    if (await this.#searchable(directory)) return;
    const handle = await open(directory, O_PATH | constants.O_DIRECTORY);
    this.#directories.push({ path: directory, handle, fd: this.firstFd + this.#directories.length });
  }

  /**
   * Makes a file accessible and returns its path in the process. Throws FailedPrecondition if its mode
   * forbids it.
   */
  async addFile(path: string, use: "read" | "execute" = "read"): Promise<string> {
    if (!this.user) return path;
    const real = await realpath(path);
    const { mode } = await stat(real);
    if ((mode & (use === "read" ? 0o004 : 0o001)) === 0) {
      throw failedPrecondition(
        `${path}: an unprivileged user may not ${use} it (mode ${(mode & 0o777).toString(8)}); ` +
          `allow it (chmod o+${use === "read" ? "r" : "rx"})`,
      );
    }
    await this.addDirectory(dirname(real));
    const accessible = this.at(real);
    // Keep the given path where possible: a program may depend on its name.
    return accessible === real && (await this.#searchable(dirname(path))) ? path : accessible;
  }

  /** Returns the process's path of a file below an added directory; any other path is returned unchanged. */
  at(path: string): string {
    const directory = this.#directories.find((one) => path.startsWith(`${one.path}/`));
    return directory ? `/proc/self/fd/${directory.fd}${path.slice(directory.path.length)}` : path;
  }

  /** Closes the descriptors, after the process has inherited them. */
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
