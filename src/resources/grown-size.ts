import { failedPrecondition } from "../core/errors.ts";
import type { PodLimits } from "./pod-limits.ts";
import type { SizingRule, VmSize } from "./sizing.ts";

/** Memory is hot-plugged in multiples of this many MiB, because Linux onlines it in whole blocks. */
const GROWTH_STEP_MIB = 128;

const MIB = 2 ** 20;

/** Rounds up a sum of CPU limits such as 0.1, which have no exact binary representation. */
const wholeCpus = (cpus: number) => Math.ceil(Number(cpus.toFixed(6)));
const inMib = (bytes: number) => Math.ceil(bytes / MIB);

/**
 * Returns the size that the limits of a pod's containers need, capped by the rule: the sum of the limits,
 * plus the usable size of a default VM, once, if there are containers without a limit.
 */
export function neededSize(containers: readonly PodLimits[], rule: SizingRule): VmSize {
  const sum = (of: keyof PodLimits, count: (limit: number) => number) =>
    containers.reduce((total, limits) => total + count(limits[of] ?? 0), 0);
  const anyWithout = (of: keyof PodLimits) => containers.some((limits) => limits[of] === undefined);
  const free = anyWithout("memory") ? Math.max(0, rule.defaultMemory - rule.guestOverhead) : 0;
  const vcpus = wholeCpus(sum("cpus", Number)) + (anyWithout("cpus") ? rule.defaultVcpus : 0);
  return {
    vcpus: Math.min(vcpus, rule.maxVcpus),
    memoryMib: Math.min(rule.guestOverhead + sum("memory", inMib) + free, rule.maxMemory),
  };
}

/** The most memory that a VM can grow to in whole steps. */
const mostMemory = (now: number, atMost: number) =>
  now + Math.max(0, Math.floor((atMost - now) / GROWTH_STEP_MIB)) * GROWTH_STEP_MIB;

/** The first piece of hot-plugged memory in MiB, and the factor by which each next piece may be larger. */
const FIRST_PIECE_MIB = 1024;
const PIECE_FACTOR = 32;

/**
 * Splits memory to be hot-plugged, in MiB, into pieces that are onlined one after another. The kernel
 * allocates the page descriptors of new memory, 1/64 of its size, from the memory it has; if that is too
 * little, it kills containers, then panics. The first piece needs 16 MiB, which `guestOverhead` covers, and
 * each next one half of the piece before.
 */
export function growthPieces(mib: number): number[] {
  const pieces: number[] = [];
  for (let left = mib, most = FIRST_PIECE_MIB; left > 0; most *= PIECE_FACTOR) {
    const piece = Math.min(left, most);
    pieces.push(piece);
    left -= piece;
  }
  return pieces;
}

/** Throws FailedPrecondition if the VM cannot grow to a memory limit. */
export function requireReachable({ memory = 0 }: PodLimits, { memoryMib }: VmSize, rule: SizingRule): void {
  const limit = inMib(memory);
  const most = mostMemory(memoryMib, rule.maxMemory);
  if (limit <= most) return;
  throw failedPrecondition(
    `a memory limit of ${limit} MiB is more than its VM has (${memoryMib} MiB) or can grow to (${most} MiB); raise hypervisor.default_maxmemory, or lower the limit`,
  );
}

/**
 * Returns the size to which a VM of size `now`, booted with `booted`, grows for `needed`; it never shrinks.
 * Its memory grows by at least as much as it has grown so far, up to one piece, because there are few slots.
 * `limitMib` is the memory limit of the pod's cgroup and its ancestors; only whole steps below it are taken.
 * Throws FailedPrecondition if what is needed does not fit the cgroup.
 */
export function grownSize(
  booted: VmSize,
  now: VmSize,
  needed: VmSize,
  limitMib: number | undefined,
  { maxMemory, hostOverhead }: SizingRule,
): VmSize {
  const vcpus = Math.max(now.vcpus, needed.vcpus);
  if (needed.memoryMib <= now.memoryMib) return { ...now, vcpus };
  const fitting = limitMib === undefined ? Number.POSITIVE_INFINITY : limitMib - hostOverhead;
  if (needed.memoryMib > fitting) {
    throw failedPrecondition(
      `the VM of ${needed.memoryMib} MiB that the containers' limits require and ${hostOverhead} MiB for the processes that serve it do not fit the pod's cgroup, which is limited to ${limitMib} MiB; raise the pod's memory limit, or the overhead of its RuntimeClass (docs/resources.md)`,
    );
  }
  const steps = Math.ceil((needed.memoryMib - now.memoryMib) / GROWTH_STEP_MIB);
  const before = now.memoryMib - booted.memoryMib;
  const more = Math.max(steps * GROWTH_STEP_MIB, Math.min(before, FIRST_PIECE_MIB));
  const most = mostMemory(now.memoryMib, Math.min(maxMemory, fitting));
  return { vcpus, memoryMib: Math.min(now.memoryMib + more, most) };
}
