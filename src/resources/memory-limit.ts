import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { errnoOf } from "../core/errors.ts";
import { levels } from "./cgroup-tree.ts";
import type { Hierarchy } from "./hierarchies.ts";

const MIB = 2 ** 20;
/** v1 writes "no limit" as the largest number of whole pages. */
const NO_LIMIT = 2 ** 60;

/** The least memory limit of a group and all above it, in whole MiB; undefined where there is none. */
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

/** A group of v2 that its parent gave no memory controller, and v2's top, have no such file: no limit. */
async function readLimit(file: string): Promise<number> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    return text === "max" ? Number.POSITIVE_INFINITY : Number(text);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Number.POSITIVE_INFINITY;
    throw error;
  }
}
