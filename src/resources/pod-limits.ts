/** What a pod may use of the host. An undefined value is unlimited. */
export interface PodLimits {
  /** In bytes. */
  readonly memory?: number;
  /** CPU time, in CPUs: 1.5 means one and a half. */
  readonly cpus?: number;
  /** The pod's weight when CPUs are short, as OCI shares: 1024 per CPU of the Kubernetes request. */
  readonly cpuShares?: number;
}

/** The parts of OCI `linux.resources` that determine the size of a VM. */
export interface SizedResources {
  readonly memory?: { readonly limit?: number };
  readonly cpu?: { readonly quota?: number; readonly period?: number; readonly shares?: number };
}

/**
 * The annotations with which containerd's CRI plugin describes the whole pod (its `pkg/annotations`); 0 is
 * "not set".
 */
const OF_THE_POD = "io.kubernetes.cri.sandbox-";

/** A memory limit from here on counts as none: cgroup v1 shows "unlimited" as the largest number of pages. */
const NO_LIMIT = 2 ** 60;
/** The period of a quota that has none, in microseconds (sched_bwc). */
const DEFAULT_PERIOD = 100_000;

/**
 * Returns the limits of a CRI pod, from its sandbox's annotations. A value that is not a positive number
 * counts as unset.
 */
export function limitsOfAnnotations(annotations: Readonly<Record<string, string>>): PodLimits {
  const value = (name: string) => Number(annotations[`${OF_THE_POD}${name}`] ?? 0);
  return limits(value("memory"), value("cpu-quota"), value("cpu-period"), value("cpu-shares"));
}

/** Returns the limits of a container without a pod, from its OCI spec. */
export function limitsOfResources({ memory, cpu }: SizedResources = {}): PodLimits {
  return limits(memory?.limit, cpu?.quota, cpu?.period, cpu?.shares);
}

function limits(memory = 0, quota = 0, period = 0, shares = 0): PodLimits {
  const cpus = quota / (period > 0 ? period : DEFAULT_PERIOD);
  return {
    ...(memory > 0 && memory < NO_LIMIT && { memory }),
    ...(cpus > 0 && Number.isFinite(cpus) && { cpus }),
    ...(shares > 0 && Number.isFinite(shares) && { cpuShares: shares }),
  };
}
