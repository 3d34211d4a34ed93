import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError, ignoring, resourceExhausted } from "../core/errors.ts";
import { type FileLock, lockFile } from "../host/file-lock.ts";
import {
  checkTemplate,
  type DirectoryIdentity,
  HITS_FILE,
  isSameDirectory,
  type Manifest,
  requirePrivate,
} from "./manifest.ts";

const MIB = 1 << 20;
const KEY = /^[0-9a-f]{32}$/;
/** The suffix of directories that are being built or discarded. The next builder removes those of a killed process. */
const BUILDING = ".building";

/** A template that may be restored. */
export interface Template {
  readonly key: string;
  readonly path: string;
  readonly manifest: Manifest;
  /** Detects that another template has taken its path. */
  readonly identity: DirectoryIdentity;
}

/** One line of `hull template status`. */
export interface TemplateStatus {
  readonly key: string;
  readonly path: string;
  /** Memory that it uses on the host, in bytes. */
  readonly bytes: number;
  /** The number of its clones. */
  readonly hits: number;
  readonly lastUse: Date;
  /** undefined if it is invalid; then `problem` says why. */
  readonly manifest: Manifest | undefined;
  readonly problem: string | undefined;
}

/**
 * The directory of the templates (`hypervisor.template.template_path`), private to root, with one directory
 * each.
 */
export class TemplateStore {
  constructor(readonly directory: string) {}

  /** Creates the directory. Throws DataLoss if it exists and others can access it. */
  async prepare(): Promise<void> {
    await mkdir(this.directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw HullError.wrap(`template directory ${this.directory}`, error);
    });
    requirePrivate(this.directory, await lstat(this.directory));
  }

  /** Returns the template with that key. Rejects as `checkTemplate` does. */
  async find(key: string): Promise<Template> {
    requirePrivate(this.directory, await lstat(this.directory).catch(wrapped(this.directory)));
    const path = join(this.directory, key);
    return { key, path, ...(await checkTemplate(path, key)) };
  }

  /** Returns whether the template still exists. Other processes may discard it at any time. */
  async has({ path, identity }: Template): Promise<boolean> {
    return await isSameDirectory(path, identity);
  }

  /** Counts a clone; does nothing if the template was discarded meanwhile. */
  async countUse({ path }: Template): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;
    const file = await open(join(path, HITS_FILE), flags).catch(ignoring("ENOENT"));
    await file?.write(".").finally(() => file.close());
  }

  /**
   * Takes the builders' lock, one for all keys. Resolves with undefined if it is held and `wait` is false.
   */
  async lock(wait: boolean, deadline: Deadline): Promise<FileLock | undefined> {
    return await lockFile(join(this.directory, "lock"), { wait }, deadline);
  }

  /** Creates an empty directory to build in and removes those of dead builders. The caller holds the lock. */
  async begin(key: string): Promise<string> {
    for (const name of await readdir(this.directory)) {
      if (name.endsWith(BUILDING)) await removeDirectory(join(this.directory, name));
    }
    const path = join(this.directory, `${key}${BUILDING}`);
    await mkdir(path, { mode: 0o700 });
    return path;
  }

  /** Renames a complete template to its final name; from now on others may find and discard it. */
  async publish(key: string, building: string): Promise<Template> {
    const checked = await checkTemplate(building, key);
    await this.discard(key);
    const path = join(this.directory, key);
    await rename(building, path);
    return { key, path, ...checked };
  }

  /** Removes a template. Clones in progress have its files open and are not affected. Idempotent. */
  async discard(key: string): Promise<void> {
    // A unique name: the same key may be built and discarded again before these files are removed.
    const gone = join(this.directory, `${key}.${randomBytes(8).toString("hex")}${BUILDING}`);
    const renamed = rename(join(this.directory, key), gone).then(() => true);
    if (await renamed.catch(ignoring("ENOENT"))) await removeDirectory(gone);
  }

  /**
   * Discards the least recently used templates until one of up to `sizeMib` fits below `limitMib` in total.
   * Throws ResourceExhausted if it cannot fit at all.
   */
  async evict(sizeMib: number, limitMib: number): Promise<void> {
    if (sizeMib > limitMib) {
      throw resourceExhausted(
        `template: up to ${sizeMib} MiB do not fit the limit of ${limitMib} MiB; raise hypervisor.template.max_size`,
      );
    }
    const kept = (await this.list()).sort((a, b) => a.lastUse.getTime() - b.lastUse.getTime());
    let used = kept.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { key, bytes } of kept) {
      if (used <= (limitMib - sizeMib) * MIB) break;
      await this.discard(key);
      used -= bytes;
    }
  }

  /** Returns all templates, valid or not; none if the directory does not exist. */
  async list(): Promise<TemplateStatus[]> {
    const names = await readdir(this.directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw HullError.wrap(`template directory ${this.directory}`, error);
    });
    const found = await Promise.all(names.filter((name) => KEY.test(name)).map((key) => this.#status(key)));
    return found.flatMap((status) => status ?? []);
  }

  /** Returns undefined if the template was discarded meanwhile. */
  async #status(key: string): Promise<TemplateStatus | undefined> {
    const path = join(this.directory, key);
    const files = await readdir(path).catch(() => []); // `find` reports the error
    const stats = await Promise.all(files.map((name) => lstat(join(path, name)).catch(() => undefined)));
    const bytes = stats.reduce((sum, found) => sum + (found?.blocks ?? 0) * 512, 0);
    const hits = await stat(join(path, HITS_FILE)).catch(() => undefined);
    const use = { bytes, hits: hits?.size ?? 0, lastUse: hits?.mtime ?? new Date(0) };
    try {
      const { manifest } = await this.find(key);
      return { key, path, ...use, manifest, problem: undefined };
    } catch (error) {
      const { code, message } = HullError.from(error);
      if (code === "NotFound") return undefined;
      return { key, path, ...use, manifest: undefined, problem: message };
    }
  }
}

/** How often removing a directory is attempted while another process removes files in it. */
const REMOVE_ATTEMPTS = 10;

/**
 * Removes a directory that another process (a discard or the next builder) may be removing at the same time.
 */
async function removeDirectory(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await rm(path, { recursive: true, force: true });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== "ENOENT" && code !== "ENOTEMPTY") || attempt === REMOVE_ATTEMPTS) throw error;
    }
  }
}

function wrapped(path: string): (error: unknown) => never {
  return (error) => {
    throw HullError.ofCallersPath(`template directory ${path}`, error);
  };
}
