import type { GuestStats } from "../../../pod/container.ts";
import type {
  HugeTlbStat,
  IOEntry,
  MemoryStat,
  Metrics,
  PSIData,
  PSIStats,
  RdmaEntry,
} from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { type CgroupFiles, flatKeyed, nestedKeyed, single, uint64, uint64Of } from "./cgroup-files.ts";
import { parseNetDev } from "./net-dev.ts";

/** Lines of a file with one line per device. */
const DEVICES_LIMIT = 256;

/** Returns containerd's cgroup v2 metrics from the guest's files. cpu, memory and pids are always set. */
export function metricsV2({ cgroupFiles: files, netDev }: GuestStats): Metrics {
  return {
    pids: { current: single(files, "pids.current") ?? 0n, limit: single(files, "pids.max") ?? 0n },
    cpu: cpu(files),
    memory: memory(files),
    rdma: { current: rdma(files, "rdma.current"), limit: rdma(files, "rdma.max") },
    io: { usage: io(files), psi: pressure(files, "io.pressure") },
    hugetlb: hugetlb(files),
    memoryEvents: memoryEvents(files),
    network: parseNetDev(netDev),
  };
}

function cpu(files: CgroupFiles): Metrics["cpu"] {
  const stat = flatKeyed(files, "cpu.stat");
  return {
    usageUsec: stat("usage_usec"),
    userUsec: stat("user_usec"),
    systemUsec: stat("system_usec"),
    nrPeriods: stat("nr_periods"),
    nrThrottled: stat("nr_throttled"),
    throttledUsec: stat("throttled_usec"),
    psi: pressure(files, "cpu.pressure"),
    nrBursts: stat("nr_bursts"),
    burstUsec: stat("burst_usec"),
  };
}

function memory(files: CgroupFiles): MemoryStat {
  const stat = flatKeyed(files, "memory.stat");
  return {
    anon: stat("anon"),
    file: stat("file"),
    kernelStack: stat("kernel_stack"),
    slab: stat("slab"),
    sock: stat("sock"),
    shmem: stat("shmem"),
    fileMapped: stat("file_mapped"),
    fileDirty: stat("file_dirty"),
    fileWriteback: stat("file_writeback"),
    anonThp: stat("anon_thp"),
    inactiveAnon: stat("inactive_anon"),
    activeAnon: stat("active_anon"),
    inactiveFile: stat("inactive_file"),
    activeFile: stat("active_file"),
    unevictable: stat("unevictable"),
    slabReclaimable: stat("slab_reclaimable"),
    slabUnreclaimable: stat("slab_unreclaimable"),
    pgfault: stat("pgfault"),
    pgmajfault: stat("pgmajfault"),
    // Since Linux 5.9 anonymous and file pages are counted separately; containerd has one number for both.
    workingsetRefault: uint64Of(stat("workingset_refault_anon") + stat("workingset_refault_file")),
    workingsetActivate: uint64Of(stat("workingset_activate_anon") + stat("workingset_activate_file")),
    workingsetNodereclaim: stat("workingset_nodereclaim"),
    pgrefill: stat("pgrefill"),
    pgscan: stat("pgscan"),
    pgsteal: stat("pgsteal"),
    pgactivate: stat("pgactivate"),
    pgdeactivate: stat("pgdeactivate"),
    pglazyfree: stat("pglazyfree"),
    pglazyfreed: stat("pglazyfreed"),
    thpFaultAlloc: stat("thp_fault_alloc"),
    thpCollapseAlloc: stat("thp_collapse_alloc"),
    usage: single(files, "memory.current") ?? 0n,
    usageLimit: single(files, "memory.max") ?? 0n,
    swapUsage: single(files, "memory.swap.current") ?? 0n,
    swapLimit: single(files, "memory.swap.max") ?? 0n,
    maxUsage: single(files, "memory.peak") ?? 0n,
    swapMaxUsage: single(files, "memory.swap.peak") ?? 0n,
    psi: pressure(files, "memory.pressure"),
  };
}

function memoryEvents(files: CgroupFiles): Metrics["memoryEvents"] {
  const events = flatKeyed(files, "memory.events");
  return {
    low: events("low"),
    high: events("high"),
    max: events("max"),
    oom: events("oom"),
    oomKill: events("oom_kill"),
    oomGroupKill: events("oom_group_kill"),
  };
}

function io(files: CgroupFiles): IOEntry[] {
  const entries: IOEntry[] = [];
  for (const { key, text } of nestedKeyed(files, "io.stat").slice(0, DEVICES_LIMIT)) {
    const [major, minor] = key.split(":").map(uint64);
    if (major === undefined || minor === undefined) continue;
    const field = (name: string) => uint64(text(name)) ?? 0n;
    entries.push({
      major,
      minor,
      rbytes: field("rbytes"),
      wbytes: field("wbytes"),
      rios: field("rios"),
      wios: field("wios"),
    });
  }
  return entries;
}

/** Parses a pressure file (accounting/psi), which a kernel without PSI does not have. */
function pressure(files: CgroupFiles, name: string): PSIStats | undefined {
  const found = new Map(nestedKeyed(files, name).map(({ key, text }) => [key, text]));
  const data = (kind: "some" | "full"): PSIData | undefined => {
    const text = found.get(kind);
    return (
      text && {
        avg10: percentage(text("avg10")),
        avg60: percentage(text("avg60")),
        avg300: percentage(text("avg300")),
        total: uint64(text("total")) ?? 0n,
      }
    );
  };
  const [some, full] = [data("some"), data("full")];
  return some || full ? { some, full } : undefined;
}

function percentage(text: string | undefined): number {
  return /^\d{1,3}(\.\d{1,6})?$/.test(text ?? "") ? Math.min(100, Number(text)) : 0;
}

/** A page size in a file name: `hugetlb.2MB.current`. */
const HUGETLB_CURRENT = /^hugetlb\.(\d{1,4}[KMG]B)\.current$/;
const PAGE_SIZES_LIMIT = 16;

function hugetlb(files: CgroupFiles): HugeTlbStat[] {
  return Object.keys(files)
    .flatMap((name) => HUGETLB_CURRENT.exec(name)?.[1] ?? [])
    .sort()
    .slice(0, PAGE_SIZES_LIMIT)
    .map((pagesize) => ({
      current: single(files, `hugetlb.${pagesize}.current`) ?? 0n,
      max: single(files, `hugetlb.${pagesize}.max`) ?? 0n,
      pagesize,
      failcnt: flatKeyed(files, `hugetlb.${pagesize}.events`)("max"),
    }));
}

function rdma(files: CgroupFiles, name: string): RdmaEntry[] {
  const handles = (value: string | undefined) => Number(BigInt.asUintN(32, uint64(value) ?? 0n));
  return nestedKeyed(files, name)
    .filter(({ key }) => /^\w{1,64}$/.test(key))
    .slice(0, DEVICES_LIMIT)
    .map(({ key, text }) => ({
      device: key,
      hcaHandles: handles(text("hca_handle")),
      hcaObjects: handles(text("hca_object")),
    }));
}
