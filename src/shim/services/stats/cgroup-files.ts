/**
 * Parsers of the kernel's cgroup v2 files (admin-guide/cgroup-v2, "Interface Files"), which the guest sends. It may
 * send anything: what cannot be parsed counts as absent or zero, nothing throws, and every list is bounded.
 */

/** Stands for the kernel's `max`: no limit. */
export const UNLIMITED = 2n ** 64n - 1n;

/** Returns the value, or the largest 64-bit number if that is less. */
export function uint64Of(value: bigint): bigint {
  return value > UNLIMITED ? UNLIMITED : value;
}

/** The text of each file, by name. Names are from the guest, so only own properties may be read. */
export type CgroupFiles = Readonly<Record<string, string>>;

/** Characters of a file. Real files are below 8 KiB, except io.stat, which grows with the number of devices. */
const FILE_LIMIT = 64 * 1024;
const LINES_LIMIT = 512;

function lines(files: CgroupFiles, name: string): string[] {
  const text = Object.hasOwn(files, name) ? files[name] : undefined;
  if (typeof text !== "string") return [];
  return text.slice(0, FILE_LIMIT).split("\n", LINES_LIMIT);
}

/** Parses a decimal number of at most 64 bits, or `max` as `UNLIMITED`; else returns undefined. */
export function uint64(text: string | undefined): bigint | undefined {
  if (text === "max") return UNLIMITED;
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value > UNLIMITED ? undefined : value;
}

/** Parses a file of one value, such as `memory.current`. */
export function single(files: CgroupFiles, name: string): bigint | undefined {
  return uint64(lines(files, name)[0]?.trim());
}

/** Parses a flat-keyed file, such as `memory.stat`. Returns a function from key to value; 0 if there is none. */
export function flatKeyed(files: CgroupFiles, name: string): (key: string) => bigint {
  const values = new Map<string, bigint>();
  for (const line of lines(files, name)) {
    const [key = "", text] = line.split(" ");
    const value = uint64(text);
    if (value !== undefined) values.set(key, value);
  }
  return (key) => values.get(key) ?? 0n;
}

/** One line of a nested-keyed file, such as `8:0 rbytes=1 wbytes=2` of `io.stat`. */
interface NestedLine {
  readonly key: string;
  readonly text: (field: string) => string | undefined;
}

/** Parses a nested-keyed file, such as `io.stat`. */
export function nestedKeyed(files: CgroupFiles, name: string): NestedLine[] {
  return lines(files, name)
    .filter((line) => line.includes("="))
    .map((line) => {
      const [key = "", ...pairs] = line.split(" ");
      const fields = new Map(
        pairs.map((pair) => [pair.split("=", 1)[0] ?? "", pair.slice(pair.indexOf("=") + 1)]),
      );
      return { key, text: (field) => fields.get(field) };
    });
}
