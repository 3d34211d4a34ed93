import { readFile } from "node:fs/promises";
import { ignoring } from "../core/errors.ts";

/**
 * Returns a text that changes when interfaces, addresses or routes of a process's network namespace change,
 * read from /proc without starting a program. Only compare it. Interfaces whose name starts with `except` do
 * not count.
 */
export async function networkFingerprint(pid: number, except: string): Promise<string> {
  const read = async (file: string) => {
    const text = await readFile(`/proc/${pid}/net/${file}`, "latin1");
    return text
      .split("\n")
      .filter((line) => !line.includes(except))
      .join("\n");
  };
  // A kernel without IPv6 has no such file.
  const optional = async (file: string) => (await read(file).catch(ignoring("ENOENT"))) ?? "";
  const [devices, v4Addresses, v4Routes, v6Addresses, v6Routes] = await Promise.all([
    read("dev"),
    read("fib_trie"),
    read("route"),
    optional("if_inet6"),
    optional("ipv6_route"),
  ]);
  return [
    columns(devices, [0]),
    v4Addresses,
    columns(v4Routes, [0, 1, 2, 3, 6, 7, 8]),
    // Not the flags, which change during duplicate address detection.
    columns(v6Addresses, [0, 2, 5]),
    // Not the counters.
    columns(v6Routes, [0, 1, 2, 3, 4, 5, 9]),
  ].join("\n");
}

function columns(table: string, wanted: readonly number[]): string {
  return table
    .split("\n")
    .map((line) => {
      const fields = line.trim().split(/\s+/);
      return wanted.map((index) => fields[index] ?? "").join(" ");
    })
    .join("\n");
}
