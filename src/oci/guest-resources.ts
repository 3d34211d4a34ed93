import { failedPrecondition } from "../core/errors.ts";
import type { VmSize } from "../resources/sizing.ts";
import type { OciCpu, OciMemory, OciResources } from "./spec.ts";

/**
 * Returns the limits that the guest can enforce: it has cgroup v2, its own CPUs, one memory node and no swap,
 * and crun refuses a container with any other limit. What is dropped: docs/resources.md.
 */
export function guestResources(resources: OciResources, { vcpus }: Pick<VmSize, "vcpus">): OciResources {
  const { devices, pids, memory, cpu, hugepageLimits, unified } = resources;
  return defined<OciResources>({
    devices,
    pids,
    memory: memory && guestMemory(memory),
    cpu: cpu && guestCpu(cpu, vcpus),
    hugepageLimits: guestHugePages(hugepageLimits),
    unified: isObject(unified) ? guestUnified(unified) : undefined,
  });
}

/** Throws FailedPrecondition for a memory limit above the VM's size, since the VM cannot grow. */
export function requireFits(container: string, { memory }: OciResources, { memoryMib }: VmSize): void {
  const mib = Math.ceil((memory?.limit ?? 0) / 2 ** 20);
  if (mib <= memoryMib) return;
  throw failedPrecondition(
    `update container ${container}: a memory limit of ${mib} MiB is more than its VM has (${memoryMib} MiB)` +
      ", which cannot grow; recreate the pod with this limit",
  );
}

const guestMemory = ({ limit, reservation, checkBeforeUpdate }: OciMemory): OciMemory =>
  defined<OciMemory>({ limit, reservation, checkBeforeUpdate });

function guestCpu({ shares, quota, period, burst, idle, cpus, mems }: OciCpu, vcpus: number): OciCpu {
  return defined<OciCpu>({
    ...{ shares, quota, burst, idle },
    // crun ignores the removal of a quota if there is no period.
    period: quota !== undefined && quota < 0 && !period ? DEFAULT_PERIOD : period,
    cpus: present(cpus, vcpus),
    mems: present(mems, 1),
  });
}

const DEFAULT_PERIOD = 100_000;
const LONGEST_LIST = 4096;

/**
 * Cuts a list of the host's CPUs or memory nodes (`0-3,8`; cpuset(7)) down to the first `count`, which the
 * guest has. undefined, which means all, if none is left.
 */
function present(list: string | undefined, count: number): string | undefined {
  if (!list || list.length > LONGEST_LIST) return undefined;
  const ranges = list.split(",").flatMap((range) => {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(range);
    if (!match) return [];
    const first = Number(match[1]);
    const last = Math.min(Number(match[2] ?? first), count - 1);
    return first > last ? [] : [first === last ? `${first}` : `${first}-${last}`];
  });
  return ranges.length > 0 ? ranges.join(",") : undefined;
}

/** Keeps the limits for 2 MB pages, which every x86-64 and arm64 guest has. */
function guestHugePages(limits: unknown): unknown {
  if (!Array.isArray(limits)) return undefined;
  const kept = limits.filter((limit) => isObject(limit) && limit.pageSize === "2MB");
  return kept.length > 0 ? kept : undefined;
}

/** Keeps the cgroup v2 files that exist in the guest and do not name anything of the host. */
function guestUnified(unified: Record<string, unknown>): Record<string, unknown> | undefined {
  const kept = Object.entries(unified).filter(
    ([name]) => /^(cpu|memory|pids)\.[a-z.]+$/.test(name) && !/^memory\.z?swap\./.test(name),
  );
  return kept.length > 0 ? Object.fromEntries(kept) : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Drops undefined and null values: some readers treat a null limit differently from an absent one. */
function defined<T extends object>(object: { [K in keyof T]?: T[K] | undefined }): T {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => value !== undefined && value !== null),
  ) as T;
}
