import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cachePath, keyOf } from "../../hack/lib/cache.ts";
import { ignoring } from "../../src/core/errors.ts";

/** A snapshot takes 200 MB. Those of other kernels and sizes are kept, too, up to this number. */
const MOST_SNAPSHOTS = 4;

/** The cached snapshot of a booted host. */
export class Snapshot {
  readonly #path: string;

  /** @param commandLine QEMU's, on which the snapshot depends, without the paths of one lab */
  constructor(commandLine: readonly string[]) {
    this.#path = cachePath("lab-snapshot", keyOf(...commandLine));
  }

  /** Returns whether it exists, and marks it as used. */
  async exists(): Promise<boolean> {
    const now = new Date();
    return (await utimes(this.#path, now, now).then(() => true, ignoring("ENOENT"))) === true;
  }

  /** Lets `restore` read it. If that fails, removes it, so that the next start makes a new one. */
  async read(restore: (path: string) => Promise<void>): Promise<void> {
    try {
      await restore(this.#path);
    } catch (error) {
      await rm(this.#path, { force: true });
      throw error;
    }
  }

  /** Lets `save` write it to a new file, and removes the least recently used ones. */
  async write(save: (path: string) => Promise<void>): Promise<void> {
    const directory = dirname(this.#path);
    const unfinished = `${this.#path}.${process.pid}`;
    await mkdir(directory, { recursive: true });
    try {
      await save(unfinished);
      await rename(unfinished, this.#path);
    } finally {
      await rm(unfinished, { force: true });
    }
    const names = await readdir(directory);
    const files = await Promise.all(
      names.map(async (name) => ({
        path: join(directory, name),
        used: (await stat(join(directory, name))).mtimeMs,
      })),
    );
    const old = files.sort((a, b) => b.used - a.used).slice(MOST_SNAPSHOTS);
    for (const { path } of old) await rm(path, { force: true });
  }
}
