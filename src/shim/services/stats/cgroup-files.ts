/**
 * Reads the kernel's cgroup v2 files (admin-guide/cgroup-v2, "Interface Files") as the guest sent them. The guest may
 * send anything: what does not parse counts as absent or zero, nothing throws, and every list has an end.
 */

/** What the kernel writes as `max`: no limit. */
export const UNLIMITED = 2n ** 64n - 1n;

/** A sum as 64 bits can hold it. */
export function uint64Of(value: bigint): bigint {
  return value > UNLIMITED ? UNLIMITED : value;
}

/** A file's text; the guest's names are looked up as own properties only. */
export type CgroupFiles = Readonly<Record<string, string>>;

/** Real files of this kind are below 8 KiB; only io.stat grows, with the number of devices. */
const FILE_LIMIT = 64 * 1024;
const LINES_LIMIT = 512;

function lines(files: CgroupFiles, name: string): string[] {
  const text = Object.hasOwn(files, name) ? files[name] : undefined;
  if (typeof text !== "string") return [];
  return text.slice(0, FILE_LIMIT).split("\n", LINES_LIMIT);
}

/** A decimal number that fits into 64 bits, or `max`. */
export function uint64(text: string | undefined): bigint | undefined {
  if (text === "max") return UNLIMITED;
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value > UNLIMITED ? undefined : value;
}

/** A file of one value, such as `memory.current`. */
export function single(files: CgroupFiles, name: string): bigint | undefined {
  return uint64(lines(files, name)[0]?.trim());
}

/** Reads a flat-keyed file, such as `memory.stat`: a function from key to value, 0 for what is not there. */
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
