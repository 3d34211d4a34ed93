import assert from "node:assert/strict";
import { Metrics as MetricsV1 } from "../../../src/proto/generated/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../../../src/proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { metricsAny } from "../../../src/shim/services/stats/metrics-any.ts";
import { metricsV2 } from "../../../src/shim/services/stats/metrics-v2.ts";
import { sumMetrics } from "../../../src/shim/services/stats/sum.ts";
import type { Target } from "../engine/target.ts";

const NET_DEV = "h\nh\n  eth0: 5000000 4000 3 2 0 0 0 0 600000 500 7 8 0 0 0 0\n";
const FILES = {
  "cpu.stat": "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 9\nnr_throttled 4\n",
  "cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 total=1\n",
  "memory.current": "1048576\n",
  "memory.max": "max\n",
  "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
  "memory.stat": "anon 111\nfile 222\nkernel_stack 16\nslab 30\n",
  "pids.max": "max\n",
  "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
  "rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\n",
  "hugetlb.2MB.current": "2097152\n",
};
const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;

/** Maximum size of metrics in bytes: those of every container are kept and sent. */
const LARGEST = 64 * 1024;

/** A guest's statistics: /proc/net/dev, then names and contents of cgroup files, separated by NULs. */
export const stats: Target = {
  name: "stats",
  seeds: [
    [NET_DEV, ...Object.entries(FILES).flat()].join("\0"),
    ...Object.entries(FILES).map((file) => ["", ...file].join("\0")),
  ],
  tokens: ["max", "\0", "18446744073709551615", "nan", "some ", "hugetlb.1GB.current", "io.stat"],
  run(input) {
    const [netDev = "", ...texts] = input.toString("utf8").split("\0");
    const names = texts.filter((_, index) => index % 2 === 0);
    const cgroupFiles = Object.fromEntries(names.map((name, index) => [name, texts[index * 2 + 1] ?? ""]));
    const metrics = metricsV2({ cgroupFiles, netDev });
    for (const each of [metrics, sumMetrics([metrics, metrics])]) {
      const [v1, v2] = [metricsAny("v1", each).value, metricsAny("v2", each).value];
      assert.ok(same(MetricsV2.encode(MetricsV2.decode(v2)).finish(), v2), "decoded, it is another");
      assert.ok(same(MetricsV1.encode(MetricsV1.decode(v1)).finish(), v1), "decoded, it is another");
      assert.ok(v1.length + v2.length < LARGEST, `${v1.length} and ${v2.length} bytes`);
    }
    const { psi } = metrics.cpu ?? {};
    for (const share of [psi?.some?.avg10 ?? 0, psi?.full?.avg300 ?? 0])
      assert.ok(share >= 0 && share <= 100);
    return metrics.network.length > 0 || (metrics.cpu?.usageUsec ?? 0n) > 0n;
  },
};
