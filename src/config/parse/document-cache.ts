import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../host/write-file-atomically.ts";
import type { ParsedDocument } from "./parsed-document.ts";

/**
 * Remembers what a text parsed to, so that a shim does not load the YAML parser (20 ms and 6 MiB) to read a file
 * that the shim before it has read. An entry's name is the SHA-256 of the text, so an entry can be missing but
 * never stale; the folder must belong to this user and be closed to all others, so it cannot be forged.
 * Every failure is a miss: the parser is always there.
 */
const FORMAT = "hull configuration cache 1\n";
const KEPT = 64;

export async function readCached(folder: string, text: string): Promise<ParsedDocument | undefined> {
  try {
    const { uid, mode } = await stat(folder);
    if (uid !== process.geteuid?.() || (mode & 0o077) !== 0) return undefined;
    return JSON.parse(await readFile(join(folder, nameOf(text)), "utf8")) as ParsedDocument;
  } catch {
    return undefined;
  }
}

/** Stores the parse of a text that was found good. A full or read-only file system is no reason to fail. */
export async function writeCached(folder: string, text: string, document: ParsedDocument): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const names = await readdir(folder);
    if (names.length >= KEPT) await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
    const temporary = join(folder, `.${randomUUID()}`); // others may write the same
    await writeFileAtomically(join(folder, nameOf(text)), JSON.stringify(document), temporary);
  } catch {
    // The next one parses it again.
  }
}

const nameOf = (text: string): string =>
  `${createHash("sha256").update(FORMAT).update(text).digest("hex")}.json`;
