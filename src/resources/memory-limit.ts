import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { ignoring } from "../core/errors.ts";
import { levels } from "./cgroup-tree.ts";
import type { Hierarchy } from "./hierarchies.ts";

const MIB = 2 ** 20;
/** cgroup v1 shows "no limit" as the largest number of whole pages. */
const NO_LIMIT = 2 ** 60;

/**
 * Returns the lowest memory limit of a cgroup and its ancestors, in whole MiB; undefined if there is none.
 */
export async function memoryLimitMib(
  path: string,
  hierarchies: readonly Hierarchy[],
): Promise<number | undefined> {
  const files: string[] = [];
  for (const { mount, version, controllers } of hierarchies) {
    if (version === 1 && !controllers.includes("memory")) continue;
    const name = version === 2 ? "memory.max" : "memory.limit_in_bytes";
    files.push(...["/", ...levels(path)].map((level) => posix.join(mount, level, name)));
  }
  const least = Math.min(...(await Promise.all(files.map(readLimit))));
  return least < NO_LIMIT ? Math.floor(least / MIB) : undefined;
}

/** Returns infinity if there is no such file: in v2 without the memory controller, and at v2's root. */
async function readLimit(file: string): Promise<number> {
  const text = (await readFile(file, "utf8").catch(ignoring("ENOENT")))?.trim() ?? "max";
  return text === "max" ? Number.POSITIVE_INFINITY : Number(text);
}
