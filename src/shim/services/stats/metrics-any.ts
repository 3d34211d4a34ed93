import { statfs } from "node:fs/promises";
import type { Any } from "../../../proto/generated/google/protobuf/any.ts";
import { Metrics as MetricsV1 } from "../../../proto/generated/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { metricsV1 } from "./metrics-v1.ts";

/** The host's cgroup version. As in containerd, the hybrid hierarchy is v1. */
export type CgroupMode = "v1" | "v2";

/** CGROUP2_SUPER_MAGIC (statfs(2)). */
const CGROUP2_MAGIC = 0x63677270;

/** Returns the host's cgroup version, by the file system at /sys/fs/cgroup like containerd. */
export async function hostCgroupMode(path = "/sys/fs/cgroup"): Promise<CgroupMode> {
  return (await statfs(path)).type === CGROUP2_MAGIC ? "v2" : "v1";
}

/** Encodes metrics as the type that containerd's collector expects on a host with this cgroup version. */
export function metricsAny(mode: CgroupMode, metrics: MetricsV2): Any {
  return mode === "v2"
    ? { typeUrl: "io.containerd.cgroups.v2.Metrics", value: MetricsV2.encode(metrics).finish() }
    : { typeUrl: "io.containerd.cgroups.v1.Metrics", value: MetricsV1.encode(metricsV1(metrics)).finish() };
}
