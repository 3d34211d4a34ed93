import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { chmod, lstat, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HullError, ignoring } from "../core/errors.ts";
import { TEMPLATE_FORMAT, type TemplateFacts } from "./template-key.ts";

/** The name of the manifest in a template's directory. */
const MANIFEST_FILE = "manifest.json";
/** Has one byte per clone: appending is atomic, and the modification time is that of the last use. */
export const HITS_FILE = "hits";

/** Files up to this size are checked by content, larger ones (the memory) by inode and ctime. */
const CONTENT_LIMIT = 4 << 20;
const MAX_MANIFEST = 64 << 10;

/** `manifest.json` of a template, the last file to be written. */
export interface Manifest {
  readonly format: number;
  readonly key: string;
  /** In ISO 8601. */
  readonly created: string;
  readonly facts: TemplateFacts;
  /** Milliseconds from the start of the boot to the end of the build. */
  readonly buildMs: number;
  readonly files: Readonly<Record<string, FileFacts>>;
}

interface FileFacts {
  readonly size: number;
  readonly ino: number;
  readonly ctimeMs: number;
  readonly sha256?: string;
}

/** Writes the manifest with the facts of the template's files, which makes the template valid. */
export async function writeManifest(
  directory: string,
  about: Pick<Manifest, "key" | "facts" | "buildMs">,
): Promise<void> {
  const files: Record<string, FileFacts> = {};
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    await chmod(path, 0o600); // the VMM chose the mode
    const { size, ino, ctimeMs } = await lstat(path);
    const sha256 = size <= CONTENT_LIMIT ? digest(await readFile(path)) : undefined;
    files[name] = { size, ino, ctimeMs, ...(sha256 !== undefined && { sha256 }) };
  }
  const created = new Date().toISOString();
  const manifest: Manifest = { format: TEMPLATE_FORMAT, created, ...about, files };
  await writeFile(join(directory, HITS_FILE), "", { mode: 0o600, flag: "wx" });
  await writeFile(join(directory, MANIFEST_FILE), JSON.stringify(manifest), { mode: 0o600, flag: "wx" });
}

/** A template that passed the check. */
interface CheckedTemplate {
  readonly manifest: Manifest;
  readonly identity: DirectoryIdentity;
}

/**
 * Distinguishes a template's directory from a successor, which may get the same inode. No entry is added or
 * removed once the template is complete, so the mtime stays.
 */
export type DirectoryIdentity = Pick<Stats, "ino" | "mtimeMs">;

/**
 * Returns the template in `directory` if it may be restored. Rejects with NotFound if there is none or it is
 * being discarded, which other processes may do at any time; with DataLoss if it is incomplete, accessible to
 * others than root, of another format, or modified.
 */
export async function checkTemplate(directory: string, key: string): Promise<CheckedTemplate> {
  const identity = await lstat(directory).catch((error: unknown) => {
    throw HullError.ofCallersPath(`template ${directory}`, error);
  });
  if (!identity.isDirectory()) throw damaged(directory, "not a directory");
  try {
    return { manifest: await checkDirectory(directory, key, identity), identity };
  } catch (error) {
    // Discarding renames the directory before it removes files: such a template is gone, not damaged.
    if (await isSameDirectory(directory, identity)) throw error;
    throw new HullError("NotFound", `template ${directory}: it was discarded meanwhile`, { cause: error });
  }
}

/** Returns whether `directory` still is that directory. */
export async function isSameDirectory(
  directory: string,
  { ino, mtimeMs }: DirectoryIdentity,
): Promise<boolean> {
  const found = await lstat(directory).catch(ignoring("ENOENT"));
  return found?.ino === ino && found.mtimeMs === mtimeMs;
}

async function checkDirectory(directory: string, key: string, identity: Stats): Promise<Manifest> {
  requirePrivate(directory, identity);
  const manifest = parse(directory, await readPrivate(join(directory, MANIFEST_FILE)));
  if (manifest.format !== TEMPLATE_FORMAT) {
    throw damaged(
      directory,
      `its format is ${String(manifest.format)}, this version's is ${TEMPLATE_FORMAT}`,
    );
  }
  if (manifest.key !== key) throw damaged(directory, "it was built for another configuration");
  for (const [name, facts] of Object.entries(manifest.files)) await checkFile(join(directory, name), facts);
  return manifest;
}

async function checkFile(path: string, facts: FileFacts): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw damaged(path, "it is missing");
    throw error;
  });
  if (!found.isFile()) throw damaged(path, "not a file");
  requirePrivate(path, found);
  if (found.size !== facts.size) throw damaged(path, `it has ${found.size} bytes instead of ${facts.size}`);
  if (found.ino !== facts.ino || found.ctimeMs !== facts.ctimeMs) {
    throw damaged(path, "it was changed after it was built");
  }
  if (facts.sha256 !== undefined && digest(await readFile(path)) !== facts.sha256) {
    throw damaged(path, "its content has changed");
  }
}

async function readPrivate(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ELOOP") throw damaged(path, "it is missing");
      throw error;
    },
  );
  try {
    const found = await file.stat();
    requirePrivate(path, found);
    if (found.size > MAX_MANIFEST) throw damaged(path, `it has ${found.size} bytes`);
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

function parse(directory: string, text: string): Manifest {
  try {
    const value: unknown = JSON.parse(text);
    // Only root can have written it, so valid JSON has our shape; `format` covers other versions.
    if (typeof value === "object" && value !== null) return value as Manifest;
  } catch {
    // reported below
  }
  throw damaged(directory, `${MANIFEST_FILE} is truncated or not JSON`);
}

/**
 * Throws DataLoss unless only root can access `path`: write access to a template is code execution in every clone.
 */
export function requirePrivate(path: string, { uid, mode }: Stats): void {
  const owner = process.geteuid?.() ?? 0;
  if (uid !== owner) throw damaged(path, `it belongs to user ${uid} instead of ${owner}`);
  if ((mode & 0o077) !== 0) {
    throw damaged(path, `it is accessible to others than its owner (mode ${(mode & 0o777).toString(8)})`);
  }
}

function damaged(path: string, why: string): HullError {
  return new HullError("DataLoss", `template ${path}: ${why}`);
}

function digest(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
