import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { ignoring } from "../core/errors.ts";
import { undo } from "../core/undo.ts";
import type { MountApi } from "../host/mount-api.ts";
import type { Source } from "../host/source.ts";

/** Flags for open(2) of a new file that is only a mount point. */
export const PLACEHOLDER = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY;

/**
 * The caller's file or device, bound to a path of ours for a program that only accepts a path. It exists in
 * this process's mount namespace only.
 */
export class BoundFile {
  readonly #mounts: MountApi;

  private constructor(
    mounts: MountApi,
    readonly path: string,
  ) {
    this.#mounts = mounts;
  }

  /** `path` must not exist, and its directory must be ours. */
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

  /** Unmounts and removes it. Idempotent. */
  async remove(): Promise<void> {
    await this.#mounts.unmount(this.path);
    await unlink(this.path).catch(ignoring("ENOENT"));
  }
}
