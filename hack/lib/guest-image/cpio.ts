// A cpio archive in the "newc" form that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
// The same entries give the same bytes: sorted by name, owner root, time 0.

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/**
 * @typedef {{name: string, kind: "directory"|"file"|"link"|"character", mode?: number, data?: Buffer|string,
 *   major?: number, minor?: number}} Entry
 */

function record(entry, inode) {
  const type = { directory: S_IFDIR, file: S_IFREG, link: S_IFLNK, character: S_IFCHR }[entry.kind];
  const mode =
    type | (entry.mode ?? (entry.kind === "directory" ? 0o755 : entry.kind === "link" ? 0o777 : 0o644));
  const data = Buffer.from(entry.data ?? "");
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

function pad(bytes) {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}

/** @param {Entry[]} entries folders that files lie in are added where missing. */
export function archive(entries) {
  const all = new Map();
  for (const entry of entries) {
    const parts = entry.name.split("/");
    for (let i = 1; i < parts.length; i++) {
      const folder = parts.slice(0, i).join("/");
      if (!all.has(folder)) all.set(folder, { name: folder, kind: "directory" });
    }
    all.set(entry.name, entry);
  }
  // By code units, not by locale; a folder sorts before what lies in it.
  const sorted = [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const trailer = { name: "TRAILER!!!", kind: "file", mode: 0 };
  return Buffer.concat([...sorted, trailer].flatMap((entry, i) => record(entry, i + 1)));
}
