import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { ignoring } from "../core/errors.ts";
import { undo } from "../core/undo.ts";
import type { MountApi } from "../host/mount-api.ts";
import type { Source } from "../host/source.ts";

/** A file that is only there to be mounted on. */
export const PLACEHOLDER = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY;

/**
 * A file or device of a caller's at a path of our own, for a program that takes nothing but a path. It lives in this
 * process's mount namespace, and ends with it.
 */
export class BoundFile {
  readonly #mounts: MountApi;

  private constructor(
    mounts: MountApi,
    readonly path: string,
  ) {
    this.#mounts = mounts;
  }

  /** `path`, in a folder of ours, must not exist. */
  static async create(source: Source, path: string, mounts: MountApi): Promise<BoundFile> {
    await (await open(path, PLACEHOLDER, 0o600)).close();
    const bound = new BoundFile(mounts, path);
    try {
      await source.bind([], { directory: dirname(path), path: basename(path) });
      return bound;
    } catch (thrown) {
      throw await undo(thrown, () => bound.remove());
    }
  }

  /** Idempotent. */
  async remove(): Promise<void> {
    await this.#mounts.unmount(this.path);
    await unlink(this.path).catch(ignoring("ENOENT"));
  }
}
