import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../host/write-file-atomically.ts";
import type { ParsedDocument } from "./parsed-document.ts";

/** Part of every entry's name, so that another version of hull does not read this one's entries. */
const FORMAT = "hull configuration cache 1\n";
/** With this many entries the cache is emptied. */
const KEPT = 64;

/**
 * Returns what `text` was parsed to before, so that not every shim loads the YAML parser (20 ms and 6 MiB). An entry's
 * name is the hash of the text, so it is never stale; the directory must be this user's and closed to all others, so
 * that entries cannot be forged. Any failure counts as a miss.
 */
export async function readCached(directory: string, text: string): Promise<ParsedDocument | undefined> {
  try {
    const { uid, mode } = await stat(directory);
    if (uid !== process.geteuid?.() || (mode & 0o077) !== 0) return undefined;
    return JSON.parse(await readFile(join(directory, nameOf(text)), "utf8")) as ParsedDocument;
  } catch {
    return undefined;
  }
}

/** Stores the parse of a text without problems. Never rejects: the file system may be full or read-only. */
export async function writeCached(directory: string, text: string, document: ParsedDocument): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const names = await readdir(directory);
    if (names.length >= KEPT)
      await Promise.all(names.map((name) => rm(join(directory, name), { force: true })));
    const temporary = join(directory, `.${randomUUID()}`); // another shim may write the same entry
    await writeFileAtomically(join(directory, nameOf(text)), JSON.stringify(document), temporary);
  } catch {
    // The next shim parses it again.
  }
}

const nameOf = (text: string): string =>
  `${createHash("sha256").update(FORMAT).update(text).digest("hex")}.json`;
