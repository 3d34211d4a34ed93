/** What a pod may use of the host. Nothing that is undefined is limited. */
export interface PodLimits {
  /** Bytes. */
  readonly memory?: number;
  /** Processor time in CPUs: 1.5 is one and a half. */
  readonly cpus?: number;
  /** The pod's weight when CPUs are short, in OCI's shares: 1024 a CPU that Kubernetes was asked for. */
  readonly cpuShares?: number;
}

/** The parts of an OCI `linux.resources` that a VM is sized by. */
export interface SizedResources {
  readonly memory?: { readonly limit?: number };
  readonly cpu?: { readonly quota?: number; readonly period?: number; readonly shares?: number };
}

/** What containerd's CRI plugin says of the whole pod (its `pkg/annotations`); 0 is "not set". */
const OF_THE_POD = "io.kubernetes.cri.sandbox-";

/** From here on a memory limit is none: cgroup v1 writes "unlimited" as the largest number of pages. */
const NO_LIMIT = 2 ** 60;
/** What a quota refers to where no period is given, in microseconds (sched_bwc). */
const DEFAULT_PERIOD = 100_000;

/** The limits of a CRI pod, from the annotations of its sandbox. What is no positive number counts as not set. */
export function limitsOfAnnotations(annotations: Readonly<Record<string, string>>): PodLimits {
  const value = (name: string) => Number(annotations[`${OF_THE_POD}${name}`] ?? 0);
  return limits(value("memory"), value("cpu-quota"), value("cpu-period"), value("cpu-shares"));
}

/** The limits of a container without a pod, from its OCI spec. */
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
