import { failedPrecondition } from "../core/errors.ts";
import type { PodLimits } from "./pod-limits.ts";

/** The parameters of the sizing rule, from the configuration; see docs/resources.md. Memory in MiB. */
export interface SizingRule {
  readonly defaultVcpus: number;
  readonly maxVcpus: number;
  readonly defaultMemory: number;
  /** The least memory with which a guest boots and runs a small container. */
  readonly minMemory: number;
  readonly maxMemory: number;
  /** The memory that kernel and agent of the guest use. */
  readonly guestOverhead: number;
  /** The memory that VMM and helpers use on the host in addition to the guest's. */
  readonly hostOverhead: number;
}

/** The size of a VM. */
export interface VmSize {
  readonly vcpus: number;
  readonly memoryMib: number;
}

/**
 * The step for the memory of VMs of limited pods, in MiB. Every size has a template of its own, so a coarse
 * step means fewer of them. What rounding adds is part of the RuntimeClass's overhead, which limits the step.
 */
const MEMORY_STEP_MIB = 64;

const MIB = 2 ** 20;
/** The CPU shares that Kubernetes sets per requested CPU. */
const SHARES_PER_CPU = 1024;

/**
 * Returns the size of a pod's VM. Memory: limit plus guest overhead, rounded up to a step, between minimum
 * and maximum; the default without a limit. vCPUs: enough for the limit, or for the request if there is no
 * limit.
 */
export function vmSize(limits: PodLimits, rule: SizingRule): VmSize {
  return { vcpus: vcpus(limits, rule), memoryMib: memory(limits, rule) };
}

function memory({ memory: limit }: PodLimits, rule: SizingRule): number {
  if (limit === undefined) return rule.defaultMemory;
  const wanted = roundUp(Math.ceil(limit / MIB) + rule.guestOverhead);
  // The minimum takes precedence over a lower maximum: there is no smaller guest.
  return Math.max(Math.min(wanted, roundDown(rule.maxMemory)), rule.minMemory);
}

function vcpus({ cpus, cpuShares = 0 }: PodLimits, { defaultVcpus, maxVcpus }: SizingRule): number {
  const atMost = (wanted: number) => Math.max(1, Math.min(Math.ceil(wanted), maxVcpus));
  return cpus === undefined ? Math.max(defaultVcpus, atMost(cpuShares / SHARES_PER_CPU)) : atMost(cpus);
}

/**
 * Fits a size to the memory limit, in MiB, of the pod's cgroup and its ancestors: less memory if it exceeds
 * that, so that the guest runs out of memory before the host kills the VMM. Throws FailedPrecondition if that
 * is less than a guest needs.
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
