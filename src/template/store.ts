import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError, resourceExhausted } from "../core/errors.ts";
import { type FileLock, lockFile } from "../host/file-lock.ts";
import {
  checkTemplate,
  type FolderIdentity,
  HITS_FILE,
  isThere,
  type Manifest,
  requirePrivate,
} from "./manifest.ts";

const MIB = 1 << 20;
const KEY = /^[0-9a-f]{32}$/;
/** Suffix of the folder in which a template is being made; what a killed builder left is found by it. */
const BUILDING = ".building";

/** A template that may be restored. */
export interface Template {
  readonly key: string;
  readonly path: string;
  readonly manifest: Manifest;
  /** Another template may take its name. */
  readonly folder: FolderIdentity;
}

/** One line of `hull template status`. */
export interface TemplateStatus {
  readonly key: string;
  readonly path: string;
  /** Memory that it takes on the host, in bytes. */
  readonly bytes: number;
  /** How many clones were made of it. */
  readonly hits: number;
  readonly lastUse: Date;
  /** undefined when it is not valid; `problem` says why. */
  readonly manifest: Manifest | undefined;
  readonly problem: string | undefined;
}

/** The folder of the templates (`hypervisor.template.template_path`): root's alone, one folder a template. */
export class TemplateStore {
  constructor(readonly directory: string) {}

  /** Makes the folder, or refuses one that is not root's alone. */
  async prepare(): Promise<void> {
    await mkdir(this.directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw HullError.wrap(`template directory ${this.directory}`, error);
    });
    requirePrivate(this.directory, await lstat(this.directory));
  }

  /** The template of that key. Rejects as `checkTemplate` does: NotFound, or DataLoss when it must not be used. */
  async find(key: string): Promise<Template> {
    requirePrivate(this.directory, await lstat(this.directory).catch(wrapped(this.directory)));
    const path = join(this.directory, key);
    return { key, path, ...(await checkTemplate(path, key)) };
  }

  /** Whether it has not been discarded. Others may do so at any moment. */
  async has({ path, folder }: Template): Promise<boolean> {
    return await isThere(path, folder);
  }

  /** Counts a clone. One of a template that was discarded meanwhile counts nowhere. */
  async countUse({ path }: Template): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;
    const file = await open(join(path, HITS_FILE), flags).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    await file?.write(".").finally(() => file.close());
  }

  /** One builder at a time, of whatever template. undefined when another one is at it and `wait` is false. */
  async lock(wait: boolean, deadline: Deadline): Promise<FileLock | undefined> {
    return await lockFile(join(this.directory, "lock"), { wait }, deadline);
  }

  /** An empty folder to make a template in, what dead builders left removed. The caller has the lock. */
  async begin(key: string): Promise<string> {
    for (const name of await readdir(this.directory)) {
      if (name.endsWith(BUILDING)) await removeFolder(join(this.directory, name));
    }
    const path = join(this.directory, `${key}${BUILDING}`);
    await mkdir(path, { mode: 0o700 });
    return path;
  }

  /** Gives a finished template its name: from here on it is found, and may be discarded. */
  async publish(key: string, building: string): Promise<Template> {
    const checked = await checkTemplate(building, key);
    await this.discard(key);
    const path = join(this.directory, key);
    await rename(building, path);
    return { key, path, ...checked };
  }

  /** Removes a template. Clones that are being made of it have it open and are not disturbed. Idempotent. */
  async discard(key: string): Promise<void> {
    // A name of its own: the same key may be made and discarded again before this one's files are removed.
    const gone = join(this.directory, `${key}.${randomBytes(8).toString("hex")}${BUILDING}`);
    try {
      await rename(join(this.directory, key), gone);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      throw error;
    }
    await removeFolder(gone);
  }

  /**
   * Removes templates until one of up to `sizeMib` fits, so that all together stay below `limitMib`: those not used for the
   * longest time go first. Throws ResourceExhausted when it cannot fit at all.
   */
  async evict(sizeMib: number, limitMib: number): Promise<void> {
    if (sizeMib > limitMib) {
      throw resourceExhausted(
        `template: one of up to ${sizeMib} MiB does not fit the limit of ${limitMib} MiB; raise hypervisor.template.max_size`,
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

  /** Every template, valid or not; none when there is no folder. */
  async list(): Promise<TemplateStatus[]> {
    const names = await readdir(this.directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw HullError.wrap(`template directory ${this.directory}`, error);
    });
    const found = await Promise.all(names.filter((name) => KEY.test(name)).map((key) => this.#status(key)));
    return found.flatMap((status) => status ?? []);
  }

  /** undefined when it has been discarded meanwhile. */
  async #status(key: string): Promise<TemplateStatus | undefined> {
    const path = join(this.directory, key);
    const files = await readdir(path).catch(() => []); // not a folder, or gone: the check below tells
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

/** How often a folder is tried to be removed from which somebody else removes files at the same time. */
const REMOVE_ATTEMPTS = 10;

/** Discarding and a builder's clearing up may remove the same folder at once: each is content when it is gone. */
async function removeFolder(path: string): Promise<void> {
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
