import type {
  IOEntry,
  MemoryEvents,
  MemoryStat,
  Metrics,
} from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { uint64Of } from "./cgroup-files.ts";
import { metricsV2 } from "./metrics-v2.ts";

/**
 * Returns a pod's metrics from those of its containers: usage and limits are added, pressure is left out. The network
 * is the pod's, so it is the same in every container.
 */
export function sumMetrics(containers: readonly Metrics[]): Metrics {
  const none = metricsV2({ cgroupFiles: {}, netDev: "" });
  return containers.reduce<Metrics>(
    (sum, one) => ({
      pids: add(sum.pids, one.pids),
      cpu: withoutPressure(add(sum.cpu, one.cpu)),
      memory: withoutPressure(add<MemoryStat>(sum.memory, one.memory)),
      memoryEvents: add<MemoryEvents>(sum.memoryEvents, one.memoryEvents),
      rdma: undefined,
      io: { usage: addDevices(sum.io?.usage ?? [], one.io?.usage ?? []), psi: undefined },
      hugetlb: addPageSizes(sum.hugetlb, one.hugetlb),
      network: one.network.length > 0 ? one.network : sum.network,
    }),
    none,
  );
}

/** Adds the counters of two messages, field by field. A sum with `UNLIMITED` stays that. */
function add<T extends object>(left: T | undefined, right: T | undefined): T | undefined {
  if (!left || !right) return left ?? right;
  const counters = Object.entries(right).map(([name, value]) => {
    const before: unknown = left[name as keyof T];
    if (typeof value !== "bigint" || typeof before !== "bigint") return [name, value];
    return [name, uint64Of(before + value)];
  });
  return Object.fromEntries(counters) as T;
}

function withoutPressure<T extends { psi: unknown }>(message: T | undefined): T | undefined {
  return message && { ...message, psi: undefined };
}

function addDevices(left: readonly IOEntry[], right: readonly IOEntry[]): IOEntry[] {
  const devices = new Map(left.map((entry) => [`${entry.major}:${entry.minor}`, entry]));
  for (const entry of right) {
    const { major, minor } = entry;
    const sum = add(devices.get(`${major}:${minor}`), entry);
    if (sum) devices.set(`${major}:${minor}`, { ...sum, major, minor });
  }
  return [...devices.values()];
}

function addPageSizes(left: Metrics["hugetlb"], right: Metrics["hugetlb"]): Metrics["hugetlb"] {
  const sizes = new Map(left.map((stat) => [stat.pagesize, stat]));
  for (const stat of right) {
    const sum = add(sizes.get(stat.pagesize), stat);
    if (sum) sizes.set(stat.pagesize, sum);
  }
  return [...sizes.values()];
}
