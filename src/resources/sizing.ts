import { failedPrecondition } from "../core/errors.ts";
import type { PodLimits } from "./pod-limits.ts";

/** The numbers of the sizing rule, from the configuration; docs/resources.md explains them. Memory in MiB. */
export interface SizingRule {
  readonly defaultVcpus: number;
  readonly maxVcpus: number;
  readonly defaultMemory: number;
  /** What a guest needs at least to boot and to run a small container. */
  readonly minMemory: number;
  readonly maxMemory: number;
  /** What the guest's kernel and agent take away from the containers. */
  readonly guestOverhead: number;
  /** What the VMM and its helpers take on the host besides the guest's memory. */
  readonly hostOverhead: number;
}

export interface VmSize {
  readonly vcpus: number;
  readonly memoryMib: number;
}

/**
 * VMs of limited pods have a multiple of this, in MiB. Every size is a template of its own: a coarse step keeps them
 * few. What it adds at most is part of the RuntimeClass's overhead, so it must not be too coarse either.
 */
const MEMORY_STEP_MIB = 64;

const MIB = 2 ** 20;
/** CPU shares that Kubernetes gives for one CPU that was asked for. */
const SHARES_PER_CPU = 1024;

/**
 * The size of a pod's VM. Memory: the pod's limit and the guest's overhead, rounded up to a whole step, between least
 * and most; the default without a limit. vCPUs: enough for the limit, or for what was asked for where there is no limit.
 */
export function vmSize(limits: PodLimits, rule: SizingRule): VmSize {
  return { vcpus: vcpus(limits, rule), memoryMib: memory(limits, rule) };
}

function memory({ memory: limit }: PodLimits, rule: SizingRule): number {
  if (limit === undefined) return rule.defaultMemory;
  const wanted = roundUp(Math.ceil(limit / MIB) + rule.guestOverhead);
  // A most that is less than the least is the host's own: there is no smaller guest.
  return Math.max(Math.min(wanted, roundDown(rule.maxMemory)), rule.minMemory);
}

function vcpus({ cpus, cpuShares = 0 }: PodLimits, { defaultVcpus, maxVcpus }: SizingRule): number {
  const atMost = (wanted: number) => Math.max(1, Math.min(Math.ceil(wanted), maxVcpus));
  return cpus === undefined ? Math.max(defaultVcpus, atMost(cpuShares / SHARES_PER_CPU)) : atMost(cpus);
}

/**
 * The size that fits a pod whose cgroup, or one above it, may use `limitMib` of memory: less memory than wanted where
 * that is too much, so that the guest runs out of memory before the host ends the VMM for it.
 * Throws FailedPrecondition when that would be less than a guest needs.
 */
export function fitToCgroup(size: VmSize, limitMib: number, rule: SizingRule): VmSize {
  const most = limitMib - rule.hostOverhead;
  if (size.memoryMib <= most) return size;
  const memoryMib = roundDown(most);
  if (memoryMib < rule.minMemory) {
    throw failedPrecondition(
      `a VM of ${rule.minMemory} MiB, the minimum, and ${rule.hostOverhead} MiB for the processes that serve it do not fit the pod's cgroup, which is limited to ${limitMib} MiB; raise the pod's memory limit, or the overhead of its RuntimeClass (docs/resources.md)`,
    );
  }
  return { ...size, memoryMib };
}

const roundUp = (mib: number) => Math.ceil(mib / MEMORY_STEP_MIB) * MEMORY_STEP_MIB;
const roundDown = (mib: number) => Math.floor(mib / MEMORY_STEP_MIB) * MEMORY_STEP_MIB;
