import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const CGROUPS = "/sys/fs/cgroup";

/** Returns the path of a cgroup for a test, with this process's PID in its name for the leak check. */
export function cgroupPath(name: string): string {
  return `/hull-${name}-${process.pid}`;
}

/** Returns whether a cgroup belongs to a test of this process, or is below one that does. */
export function belongsToThisTest(path: string): boolean {
  return path.split("/").some((name) => name.startsWith("hull-") && name.endsWith(`-${process.pid}`));
}

/**
 * Removes a cgroup from every hierarchy: with cgroup v1, parents are created in each and never removed.
 * Retries while its processes are still exiting.
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
      if (["ENOENT", "ENOTDIR"].includes(code)) return; // not in every hierarchy
      if (code !== "EBUSY" || performance.now() > end) throw error;
    }
  }
}
