// cpio archives in the "newc" format that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
// Reproducible: sorted by name, owner root, time 0.

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/** An entry of an archive. */
export interface Entry {
  readonly name: string;
  readonly kind: "directory" | "file" | "link" | "character";
  readonly mode?: number;
  /** The content of a file, or the target of a symlink. */
  readonly data?: Buffer | string;
  /** The numbers of a character device. */
  readonly major?: number;
  readonly minor?: number;
}

/** File types and default permissions. */
const MODES = {
  directory: [S_IFDIR, 0o755],
  file: [S_IFREG, 0o644],
  link: [S_IFLNK, 0o777],
  character: [S_IFCHR, 0o644],
} as const;

function record(entry: Entry, inode: number): Buffer[] {
  const [type, permissions] = MODES[entry.kind];
  const mode = type | (entry.mode ?? permissions);
  const data = typeof entry.data === "object" ? entry.data : Buffer.from(entry.data ?? "");
  const name = Buffer.from(`${entry.name}\0`);
  const links = entry.kind === "directory" ? 2 : 1;
  const numbers = [
    inode,
    mode,
    0,
    0,
    links,
    0,
    data.length,
    0,
    0,
    entry.major ?? 0,
    entry.minor ?? 0,
    name.length,
    0,
  ];
  const header = Buffer.from(`070701${numbers.map((n) => n.toString(16).padStart(8, "0")).join("")}`);
  return [pad(Buffer.concat([header, name])), pad(data)];
}

function pad(bytes: Buffer): Buffer {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}

/** Returns an archive of the entries. Missing parent directories are added. */
export function archive(entries: readonly Entry[]): Buffer {
  const all = new Map<string, Entry>();
  for (const entry of entries) {
    const parts = entry.name.split("/");
    for (let i = 1; i < parts.length; i++) {
      const directory = parts.slice(0, i).join("/");
      if (!all.has(directory)) all.set(directory, { name: directory, kind: "directory" });
    }
    all.set(entry.name, entry);
  }
  // By code units, not by locale. A directory sorts before its content.
  const sorted = [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const trailer: Entry = { name: "TRAILER!!!", kind: "file", mode: 0 };
  return Buffer.concat([...sorted, trailer].flatMap((entry, i) => record(entry, i + 1)));
}
