import { readFile } from "node:fs/promises";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { readMountInfo } from "../host/mountinfo.ts";
import { childrenOf } from "../host/proc.ts";
import {
  deepestExisting,
  evacuate,
  hasGroups,
  levels,
  makeGroup,
  moveHome,
  moveProcess,
  removeGroup,
} from "./cgroup-tree.ts";
import { type Hierarchy, hierarchies } from "./hierarchies.ts";
import { memoryLimitMib } from "./memory-limit.ts";

type CgroupRecord = Omit<Extract<Resource, { kind: "cgroup" }>, "kind">;

/** Between two tries to remove a group whose last process is just ending: nothing tells when it has left. */
const FIRST_TRY_MS = 1;
const LONGEST_TRY_MS = 32;
/** How long a group may stay busy before it is given up: on a busy host who ends needs time for it. */
const BUSY_LIMIT_MS = 10_000;
/** How long groups below it may stay before they are taken for another pod's, which uses them. */
const OTHERS_LIMIT_MS = 1_000;

/**
 * The cgroup of a pod on the host, in every hierarchy there is. The shim is in it before it starts the VMM, so that is
 * born there, and all that the guest's memory costs is charged there.
 */
export class PodCgroup {
  private constructor(
    /** Within every hierarchy. */
    readonly path: string,
    /** What this group and those above it allow, in MiB; undefined = as much as there is. */
    readonly memoryLimitMib: number | undefined,
    readonly hierarchies: readonly Hierarchy[],
    readonly record: CgroupRecord,
    readonly entry: LedgerEntry,
  ) {}

  /**
   * Makes the group and moves this process into it. `where`: the host's hierarchies as `hostHierarchies` finds them.
   * On failure nothing is left of it.
   */
  static async enter(path: string, ledger: Ledger, where: readonly Hierarchy[]): Promise<PodCgroup> {
    const record = { path, existing: await deepestExisting(path, where) };
    const entry = await ledger.record({ kind: "cgroup", ...record });
    try {
      const groups = await allSettled(where.map((hierarchy) => makeGroup(hierarchy, path)));
      const [limit] = await allSettled([memoryLimitMib(path, where), moveInto(groups, process.pid)]);
      return new PodCgroup(path, limit, where, record, entry);
    } catch (thrown) {
      const error = await undo(thrown, async (by) => {
        await releaseCgroup(record, by, where);
        await entry.forget();
      });
      const { code, message } = HullError.from(error);
      // A host that is full has a remedy of its own in the message.
      const advice =
        code === "ResourceExhausted"
          ? ""
          : "; runtime.sandbox_cgroup_only: false leaves the pod in containerd's cgroup";
      throw new HullError(code, `pod cgroup: ${message}${advice}`, { cause: thrown });
    }
  }

  /** `memoryLimitMib` as it is now: who resizes a pod raises it first. */
  async currentMemoryLimitMib(): Promise<number | undefined> {
    return await memoryLimitMib(this.path, this.hierarchies);
  }

  /** Moves processes that were started before this one was in the group, and what they have started themselves. */
  async adopt(pids: readonly number[]): Promise<void> {
    for (const pid of pids) {
      await moveInto(this.#groups, pid);
      await this.adopt(await childrenOf(pid));
    }
  }

  /** Moves this process back to where it was, which may take 10 to 20 ms. */
  async leave(): Promise<void> {
    for (const hierarchy of this.hierarchies) await moveHome(process.pid, hierarchy);
  }

  /** Runs a step with this process outside of the group: what it starts and allocates is not the pod's. */
  async outside<T>(step: () => Promise<T>): Promise<T> {
    await this.leave();
    try {
      return await step();
    } finally {
      await moveInto(this.#groups, process.pid);
    }
  }

  get #groups(): string[] {
    return this.hierarchies.map(({ mount }) => mount + this.path);
  }

  /** Removes the group, and moves out before that what is still in it. */
  async release(deadline: Deadline): Promise<void> {
    await releaseCgroup(this.record, deadline, this.hierarchies);
    await this.entry.forget();
  }
}

/**
 * The first move waits for the kernel, alone, since each one holds a thread that reads and writes files; behind it the
 * others are quick.
 */
async function moveInto([first, ...others]: readonly string[], pid: number): Promise<void> {
  if (first !== undefined) await moveProcess(pid, first);
  await allSettled(others.map((group) => moveProcess(pid, group)));
}

/** The cgroup hierarchies of this host, and where in them this process is. */
export async function hostHierarchies(): Promise<Hierarchy[]> {
  const [mounts, own] = await Promise.all([readMountInfo(), readFile("/proc/self/cgroup", "utf8")]);
  return hierarchies(mounts, own);
}

/**
 * Removes a recorded group, with those above it that are empty and were not there before it. What runs in it is moved
 * to where this process is. Idempotent. Throws FailedPrecondition when something stays in it.
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
  const others = limit.shorter(OTHERS_LIMIT_MS);
  try {
    for (const hierarchy of where) {
      if (!(await removeFrom(hierarchy, hierarchy.mount + path, { limit, others }))) continue;
      // Another pod may have made its own there meanwhile: then they stay, as all do that are not ours alone.
      for (const level of made) if (!(await removeGroup(hierarchy.mount + level))) break;
    }
  } finally {
    others.dispose();
  }
}

interface Patience {
  readonly limit: Deadline;
  /** For groups below it. */
  readonly others: Deadline;
}

/** False when the group stays since it has become another pod's, too, which has its group below it. */
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
