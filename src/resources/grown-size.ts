import { failedPrecondition } from "../core/errors.ts";
import type { PodLimits } from "./pod-limits.ts";
import type { SizingRule, VmSize } from "./sizing.ts";

/** Memory is plugged into a running VM in multiples of this, in MiB: Linux takes it by whole blocks. */
const GROWTH_STEP_MIB = 128;

const MIB = 2 ** 20;

/** CPU limits are sums of fractions such as 0.1, which binary numbers only come near to. */
const wholeCpus = (cpus: number) => Math.ceil(Number(cpus.toFixed(6)));
const inMib = (bytes: number) => Math.ceil(bytes / MIB);

/**
 * The size that the limits of a pod's containers ask for, at most the rule's. Limited containers get the sum of their
 * limits, those without a limit together what they would have in a VM of the default size.
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

/** What a VM of this much memory can grow to, in whole steps. */
const mostMemory = (now: number, atMost: number) =>
  now + Math.max(0, Math.floor((atMost - now) / GROWTH_STEP_MIB)) * GROWTH_STEP_MIB;

/** The first piece of memory that is plugged in, in MiB, and by how much the next ones may be larger than those before. */
const FIRST_PIECE_MIB = 1024;
const PIECE_FACTOR = 32;

/**
 * The pieces in which this much memory, in MiB, is given to a running guest, each to be in use before the next comes.
 * The kernel describes new memory in what it has already, 1/64 of it; where that is not there, it ends containers, then
 * itself. So the first piece asks for 16 MiB, which `guestOverhead` has, and the next for half of the one before.
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

/** Throws FailedPrecondition for a memory limit that the VM cannot grow to. */
export function requireReachable({ memory = 0 }: PodLimits, { memoryMib }: VmSize, rule: SizingRule): void {
  const limit = inMib(memory);
  const most = mostMemory(memoryMib, rule.maxMemory);
  if (limit <= most) return;
  throw failedPrecondition(
    `a memory limit of ${limit} MiB is more than its VM has (${memoryMib} MiB) or can grow to (${most} MiB); raise hypervisor.default_maxmemory, or lower the limit`,
  );
}

/**
 * The size that a VM of size `now`, which was booted with `booted`, grows to for what is needed; it never shrinks. It
 * gets at least as much memory as it was given before, up to one piece: there are few slots, and so they last.
 * `limitMib`: what the pod's cgroup and those above it may use of memory. Of the whole steps those are taken that fit.
 * Throws FailedPrecondition when what is needed does not fit the cgroup.
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
      `the VM of ${needed.memoryMib} MiB that the containers' limits ask for and ${hostOverhead} MiB for the processes that serve it do not fit the pod's cgroup, which is limited to ${limitMib} MiB; raise the pod's memory limit, or the overhead of its RuntimeClass (docs/resources.md)`,
    );
  }
  const steps = Math.ceil((needed.memoryMib - now.memoryMib) / GROWTH_STEP_MIB);
  const before = now.memoryMib - booted.memoryMib;
  const more = Math.max(steps * GROWTH_STEP_MIB, Math.min(before, FIRST_PIECE_MIB));
  const most = mostMemory(now.memoryMib, Math.min(maxMemory, fitting));
  return { vcpus, memoryMib: Math.min(now.memoryMib + more, most) };
}
