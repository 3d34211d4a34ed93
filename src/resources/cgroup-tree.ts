import { access, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { posix } from "node:path";
import { errnoOf, HullError, ignoring } from "../core/errors.ts";
import type { Hierarchy } from "./hierarchies.ts";

/** How often creating a cgroup is attempted while the teardown of another pod removes its parent. */
const MAKE_ATTEMPTS = 5;

/** Returns the path and its ancestors, the shortest first: `/a`, `/a/b`, `/a/b/c`. */
export function levels(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return names.map((_, depth) => `/${names.slice(0, depth + 1).join("/")}`);
}

/** Returns the deepest of `path` and its ancestors that exists in any hierarchy; `/` if none does. */
export async function deepestExisting(path: string, hierarchies: readonly Hierarchy[]): Promise<string> {
  for (const level of levels(path).reverse()) {
    const found = await Promise.all(hierarchies.map(({ mount }) => exists(mount + level)));
    if (found.includes(true)) return level;
  }
  return "/";
}

/** Whether a path exists. */
export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Creates a cgroup and its missing ancestors in one hierarchy. Returns its directory. */
export async function makeGroup({ mount, controllers }: Hierarchy, path: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      for (const level of levels(path)) {
        await mkdir(mount + level).catch(ignoring("EEXIST"));
        if (controllers.includes("cpuset")) await inheritCpuset(mount + level);
      }
      return mount + path;
    } catch (error) {
      if (errnoOf(error) === "ENOENT" && attempt < MAKE_ATTEMPTS) continue;
      throw HullError.wrap(`create cgroup ${mount}${path}`, error);
    }
  }
}

/**
 * Copies CPUs and memory nodes from the parent: a new v1 cpuset has neither, and accepts no process
 * (cpuset(7)).
 */
async function inheritCpuset(directory: string): Promise<void> {
  for (const name of ["cpuset.cpus", "cpuset.mems"]) {
    if ((await readFile(posix.join(directory, name), "utf8")).trim() !== "") continue;
    const above = await readFile(posix.join(posix.dirname(directory), name), "utf8");
    await writeFile(posix.join(directory, name), above.trim());
  }
}

/**
 * Moves a process with all its threads; does nothing if it has exited. The first move in a while takes 10 to
 * 20 ms (an RCU grace period of the kernel).
 */
export async function moveProcess(pid: number, directory: string): Promise<void> {
  await writeFile(posix.join(directory, "cgroup.procs"), String(pid)).catch(ignoring("ESRCH"));
}

/** Moves a process to the cgroup that the caller of `hostHierarchies` had, or to the root if that is gone. */
export async function moveToOwnCgroup(pid: number, { own, mount }: Hierarchy): Promise<void> {
  await moveProcess(pid, own).catch((error) => {
    if (errnoOf(error) !== "ENOENT") throw error;
    return moveProcess(pid, mount);
  });
}

/** Moves all processes out of a cgroup, which may be gone. */
export async function evacuate(hierarchy: Hierarchy, directory: string): Promise<void> {
  const list = await readFile(posix.join(directory, "cgroup.procs"), "utf8").catch(
    ignoring("ENOENT", "ENODEV"),
  );
  const pids = (list ?? "").split("\n").filter(Boolean);
  const { own, mount } = hierarchy;
  for (const pid of pids.map(Number)) {
    await moveToOwnCgroup(pid, { ...hierarchy, own: own === directory ? mount : own });
  }
}

/** Whether a cgroup has children. */
export async function hasGroups(directory: string): Promise<boolean> {
  return (await readdir(directory, { withFileTypes: true })).some((entry) => entry.isDirectory());
}

/** Removes a cgroup. False if it is in use; true if it does not exist. */
export async function removeGroup(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
  } catch (error) {
    if (["EBUSY", "ENOTEMPTY"].includes(errnoOf(error) ?? "")) return false;
    if (!["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) throw error;
  }
  return true;
}
