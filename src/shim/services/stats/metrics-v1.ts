import type {
  BlkIOEntry,
  MemoryEntry,
  MemoryStat,
  Metrics as MetricsV1,
} from "../../../proto/generated/io/containerd/cgroups/v1/metrics.ts";
import type {
  MemoryStat as MemoryStatV2,
  Metrics as MetricsV2,
} from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { UNLIMITED, uint64Of } from "./cgroup-files.ts";

/**
 * Returns cgroup v1 metrics, for hosts with cgroup v1, computed from the guest's v2 metrics:
 *
 * | v1                                       | v2                                                                  |
 * | ---------------------------------------- | ------------------------------------------------------------------- |
 * | cpu.usage.total, user, kernel (ns)       | cpu.stat usage_usec, user_usec, system_usec, times 1000             |
 * | cpu.throttling                           | cpu.stat nr_periods, nr_throttled, throttled_usec times 1000        |
 * | memory.cache, rss, rss_huge, mapped_file | memory.stat file, anon, anon_thp, file_mapped                       |
 * | memory.dirty, writeback                  | memory.stat file_dirty, file_writeback                              |
 * | memory.pg_fault, pg_maj_fault            | memory.stat pgfault, pgmajfault                                     |
 * | memory.total_*                           | the same: v2 always counts the whole tree                           |
 * | memory.usage                             | memory.current, .max, .peak; failcnt: memory.events max             |
 * | memory.swap (v1: memory and swap)        | sums of memory.current, .max and memory.swap.current, .max          |
 * | memory.kernel, kernel_tcp                | memory.stat kernel_stack + slab, sock; there are no such limits     |
 * | memory_oom_control.oom_kill              | memory.events oom_kill                                              |
 * | blkio.io_service_bytes, io_serviced      | io.stat rbytes, wbytes; rios, wios                                  |
 * | pids, hugetlb, rdma, network             | the same numbers                                                    |
 *
 * Zero, as v2 lacks a counterpart: cpu.usage.per_cpu, pg_pg_in and pg_pg_out, the other blkio lists, cgroup_stats.
 */
export function metricsV1(v2: MetricsV2): MetricsV1 {
  return {
    hugetlb: v2.hugetlb.map(({ current, max, failcnt, pagesize }) => ({
      usage: current,
      max,
      failcnt,
      pagesize,
    })),
    // In v1, 0 means no limit.
    pids: {
      current: v2.pids?.current ?? 0n,
      limit: v2.pids?.limit === UNLIMITED ? 0n : (v2.pids?.limit ?? 0n),
    },
    cpu: cpu(v2.cpu),
    memory: memory(v2),
    blkio: blkio(v2.io?.usage ?? []),
    rdma: v2.rdma,
    network: v2.network,
    cgroupStats: undefined,
    memoryOomControl: { oomKillDisable: 0n, underOom: 0n, oomKill: v2.memoryEvents?.oomKill ?? 0n },
  };
}

/** What the v1 files contain for no limit: 2^63 - 1 bytes, rounded down to pages. */
const V1_UNLIMITED = 2n ** 63n - 4096n;

const limitV1 = (limit: bigint) => (limit > V1_UNLIMITED ? V1_UNLIMITED : limit);

function cpu(stat: MetricsV2["cpu"]): MetricsV1["cpu"] {
  const nanoseconds = (usec: bigint | undefined) => uint64Of((usec ?? 0n) * 1000n);
  return {
    usage: {
      total: nanoseconds(stat?.usageUsec),
      kernel: nanoseconds(stat?.systemUsec),
      user: nanoseconds(stat?.userUsec),
      perCpu: [],
    },
    throttling: {
      periods: stat?.nrPeriods ?? 0n,
      throttledPeriods: stat?.nrThrottled ?? 0n,
      throttledTime: nanoseconds(stat?.throttledUsec),
    },
  };
}

function memory({ memory: stat, memoryEvents }: MetricsV2): MemoryStat | undefined {
  if (!stat) return undefined;
  const unlimited = (usage: bigint): MemoryEntry => ({ limit: V1_UNLIMITED, usage, max: 0n, failcnt: 0n });
  const limit = limitV1(stat.usageLimit);
  const limitWithSwap = limitV1(stat.usageLimit + stat.swapLimit);
  return {
    cache: stat.file,
    rss: stat.anon,
    rssHuge: stat.anonThp,
    mappedFile: stat.fileMapped,
    dirty: stat.fileDirty,
    writeback: stat.fileWriteback,
    pgPgIn: 0n,
    pgPgOut: 0n,
    pgFault: stat.pgfault,
    pgMajFault: stat.pgmajfault,
    inactiveAnon: stat.inactiveAnon,
    activeAnon: stat.activeAnon,
    inactiveFile: stat.inactiveFile,
    activeFile: stat.activeFile,
    unevictable: stat.unevictable,
    hierarchicalMemoryLimit: limit,
    hierarchicalSwapLimit: limitWithSwap,
    ...totals(stat),
    usage: { limit, usage: stat.usage, max: stat.maxUsage, failcnt: memoryEvents?.max ?? 0n },
    swap: {
      limit: limitWithSwap,
      usage: uint64Of(stat.usage + stat.swapUsage),
      max: uint64Of(stat.maxUsage + stat.swapMaxUsage),
      failcnt: 0n,
    },
    kernel: unlimited(uint64Of(stat.kernelStack + stat.slab)),
    kernelTcp: unlimited(stat.sock),
  };
}

function totals(stat: MemoryStatV2) {
  return {
    totalCache: stat.file,
    totalRss: stat.anon,
    totalRssHuge: stat.anonThp,
    totalMappedFile: stat.fileMapped,
    totalDirty: stat.fileDirty,
    totalWriteback: stat.fileWriteback,
    totalPgPgIn: 0n,
    totalPgPgOut: 0n,
    totalPgFault: stat.pgfault,
    totalPgMajFault: stat.pgmajfault,
    totalInactiveAnon: stat.inactiveAnon,
    totalActiveAnon: stat.activeAnon,
    totalInactiveFile: stat.inactiveFile,
    totalActiveFile: stat.activeFile,
    totalUnevictable: stat.unevictable,
  };
}

function blkio(devices: NonNullable<MetricsV2["io"]>["usage"]): MetricsV1["blkio"] {
  const entries = (read: "rbytes" | "rios", write: "wbytes" | "wios"): BlkIOEntry[] =>
    devices.flatMap((device) => {
      const entry = (op: string, value: bigint): BlkIOEntry => ({
        op,
        value,
        major: device.major,
        minor: device.minor,
        device: "",
      });
      return [
        entry("Read", device[read]),
        entry("Write", device[write]),
        entry("Total", uint64Of(device[read] + device[write])),
      ];
    });
  return {
    ioServiceBytesRecursive: entries("rbytes", "wbytes"),
    ioServicedRecursive: entries("rios", "wios"),
    ioQueuedRecursive: [],
    ioServiceTimeRecursive: [],
    ioWaitTimeRecursive: [],
    ioMergedRecursive: [],
    ioTimeRecursive: [],
    sectorsRecursive: [],
  };
}
