import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { readMountInfo } from "../host/mountinfo.ts";
import { childrenOf } from "../host/proc.ts";
import { type ScopeUnit, scopeOf } from "./cgroup-path.ts";
import {
  deepestExisting,
  evacuate,
  exists,
  hasGroups,
  levels,
  makeGroup,
  moveProcess,
  moveToOwnCgroup,
  removeGroup,
} from "./cgroup-tree.ts";
import { type Hierarchy, hierarchies } from "./hierarchies.ts";
import { memoryLimitMib } from "./memory-limit.ts";
import { closeScope, openScope } from "./systemd-scope.ts";

type CgroupRecord = Omit<Extract<Resource, { kind: "cgroup" }>, "kind">;

/** Between attempts to remove a cgroup whose last process is exiting, for which there is no notification. */
const FIRST_TRY_MS = 1;
const LONGEST_TRY_MS = 32;
/** How long removing a busy cgroup is attempted: on a busy host, exiting takes time. */
const BUSY_LIMIT_MS = 10_000;
/** After this time, cgroups below it count as another pod's. */
const OTHERS_LIMIT_MS = 1_000;

/**
 * The cgroup of a pod on the host, in every hierarchy. The shim enters it before it starts the VMM, so that
 * the guest's memory is charged to it.
 */
export class PodCgroup {
  private constructor(
    /** The path within each hierarchy. */
    readonly path: string,
    /** The memory limit of this cgroup and its ancestors, in MiB; undefined without one. */
    readonly memoryLimitMib: number | undefined,
    readonly hierarchies: readonly Hierarchy[],
    readonly record: CgroupRecord,
    readonly entry: LedgerEntry,
  ) {}

  /**
   * Creates the cgroup and moves this process into it. `where`: what `hostHierarchies` returns. On failure it
   * leaves nothing.
   */
  static async enter(path: string, ledger: Ledger, where: readonly Hierarchy[]): Promise<PodCgroup> {
    // The slices above a scope are systemd's.
    const scope = scopeIn(path, where);
    const record = { path, existing: scope ? posix.dirname(path) : await deepestExisting(path, where) };
    const entry = await ledger.record({ kind: "cgroup", ...record });
    try {
      const groups = await makeGroups(path, where);
      const [limit] = await allSettled([memoryLimitMib(path, where), moveInto(groups, process.pid)]);
      return new PodCgroup(path, limit, where, record, entry);
    } catch (thrown) {
      const error = await undo(thrown, async (by) => {
        await releaseCgroup(record, by, where);
        await entry.forget();
      });
      const { code, message } = HullError.from(error);
      // The message about a full host has a remedy of its own.
      const advice =
        code === "ResourceExhausted"
          ? ""
          : "; runtime.sandbox_cgroup_only: false leaves the pod in containerd's cgroup";
      throw new HullError(code, `pod cgroup: ${message}${advice}`, { cause: thrown });
    }
  }

  /** Reads `memoryLimitMib` again, because resizing a pod raises its limit first. */
  async currentMemoryLimitMib(): Promise<number | undefined> {
    return await memoryLimitMib(this.path, this.hierarchies);
  }

  /** Moves processes that were started before this one entered the cgroup, and their children. */
  async adopt(pids: readonly number[]): Promise<void> {
    for (const pid of pids) {
      await moveInto(this.#groups, pid);
      await this.adopt(await childrenOf(pid));
    }
  }

  /** Moves this process back to its original cgroup, which may take 10 to 20 ms. */
  async leave(): Promise<void> {
    for (const hierarchy of this.hierarchies) await moveToOwnCgroup(process.pid, hierarchy);
  }

  /** Runs a step while this process is outside of the cgroup, so that the pod is not charged for it. */
  async outside<T>(step: () => Promise<T>): Promise<T> {
    await this.leave();
    try {
      return await step();
    } finally {
      // systemd ends a scope without processes.
      await moveInto(await makeGroups(this.path, this.hierarchies), process.pid);
    }
  }

  get #groups(): string[] {
    return this.hierarchies.map(({ mount }) => mount + this.path);
  }

  /** Moves out the remaining processes and removes the cgroup. */
  async release(deadline: Deadline): Promise<void> {
    await releaseCgroup(this.record, deadline, this.hierarchies);
    await this.entry.forget();
  }
}

/** Returns the scope that a path is in a hierarchy of systemd. */
function scopeIn(
  path: string,
  where: readonly Hierarchy[],
): { readonly unit: ScopeUnit; readonly hierarchy: Hierarchy } | undefined {
  const unit = scopeOf(path);
  const hierarchy = where.find(({ systemd }) => systemd);
  return unit && hierarchy && { unit, hierarchy };
}

/** Creates the cgroup in every hierarchy, by systemd where it is a scope. Returns the directories. */
async function makeGroups(path: string, where: readonly Hierarchy[]): Promise<string[]> {
  const scope = scopeIn(path, where);
  if (scope) await openScope(scope.unit, scope.hierarchy, path);
  return await allSettled(where.map((hierarchy) => makeGroup(hierarchy, path)));
}

/**
 * Moves to the first cgroup alone, because that move waits for the kernel and each move occupies a thread of
 * the pool; the others are fast afterwards.
 */
async function moveInto([first, ...others]: readonly string[], pid: number): Promise<void> {
  if (first !== undefined) await moveProcess(pid, first);
  await allSettled(others.map((group) => moveProcess(pid, group)));
}

/** Returns the cgroup hierarchies of this host, and this process's cgroup in each. */
export async function hostHierarchies(): Promise<Hierarchy[]> {
  const [mounts, own, systemd] = await Promise.all([
    readMountInfo(),
    readFile("/proc/self/cgroup", "utf8"),
    exists("/run/systemd/system"), // sd_booted(3)
  ]);
  return hierarchies(mounts, own, systemd);
}

/**
 * Removes a recorded cgroup and its empty ancestors that did not exist before. Remaining processes are moved
 * to this process's cgroup. Idempotent. Throws FailedPrecondition if it stays in use.
 */
export async function releaseCgroup(
  record: CgroupRecord,
  deadline: Deadline,
  where?: readonly Hierarchy[],
): Promise<void> {
  const limit = deadline.shorter(BUSY_LIMIT_MS, `remove cgroup ${record.path}`);
  try {
    await removeCgroup(record, where ?? (await hostHierarchies()), limit);
  } finally {
    limit.dispose();
  }
}

async function removeCgroup(
  { path, existing }: CgroupRecord,
  where: readonly Hierarchy[],
  limit: Deadline,
): Promise<void> {
  const above = levels(path).reverse().slice(1);
  const made = above.filter((level) => level.length > existing.length);
  const scope = scopeIn(path, where);
  if (scope) await closeScope(scope.unit, scope.hierarchy, path, limit);
  const others = limit.shorter(OTHERS_LIMIT_MS);
  try {
    for (const hierarchy of where) {
      if (!(await removeFrom(hierarchy, hierarchy.mount + path, { limit, others }))) continue;
      // Another pod may have created cgroups there meanwhile; then the ancestors stay.
      for (const level of made) if (!(await removeGroup(hierarchy.mount + level))) break;
    }
  } finally {
    others.dispose();
  }
}

interface Patience {
  readonly limit: Deadline;
  /** For cgroups below it. */
  readonly others: Deadline;
}

/** Returns false if the cgroup stays because another pod has its cgroup below it. */
async function removeFrom(
  hierarchy: Hierarchy,
  directory: string,
  { limit, others }: Patience,
): Promise<boolean> {
  for (let wait = FIRST_TRY_MS; !(await removeGroup(directory)); wait = Math.min(2 * wait, LONGEST_TRY_MS)) {
    if (others.reason && (await hasGroups(directory))) return false;
    if (limit.reason) throw failedPrecondition(`cgroup ${directory} cannot be removed: it is in use`);
    await evacuate(hierarchy, directory);
    if (await removeGroup(directory)) break;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return true;
}
