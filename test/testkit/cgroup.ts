import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const CGROUPS = "/sys/fs/cgroup";

/** A group for a test to make: its leak check knows it by this process's id. */
export function cgroupPath(name: string): string {
  return `/hull-${name}-${process.pid}`;
}

/** Whether a group is one of this process's tests', or below one. */
export function isOfThisTest(path: string): boolean {
  return path.split("/").some((name) => name.startsWith("hull-") && name.endsWith(`-${process.pid}`));
}

/**
 * Takes a group away, from every hierarchy: who makes a group in it makes it in each, and nobody removes what is above
 * his own. What was in it may be ending still.
 */
export async function removeCgroup(path: string, withinMs = 60_000): Promise<void> {
  await removeDirectory(join(CGROUPS, path), withinMs);
  for (const hierarchy of await readdir(CGROUPS))
    await removeDirectory(join(CGROUPS, hierarchy, path), withinMs);
}

async function removeDirectory(directory: string, withinMs: number): Promise<void> {
  for (const end = performance.now() + withinMs; ; await sleep(20)) {
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (["ENOENT", "ENOTDIR"].includes(code)) return; // not every hierarchy has it
      if (code !== "EBUSY" || performance.now() > end) throw error;
    }
  }
}
