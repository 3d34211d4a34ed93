import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Metrics as MetricsV1 } from "../../../proto/generated/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { UNLIMITED } from "./cgroup-files.ts";
import { hostCgroupMode, metricsAny } from "./metrics-any.ts";
import { metricsV1 } from "./metrics-v1.ts";
import { metricsV2 } from "./metrics-v2.ts";
import { parseNetDev } from "./net-dev.ts";
import { sumMetrics } from "./sum.ts";

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0: 5000000    4000    3    2    0     0          0         0   600000     500    7    8    0     0       0          0
`;

const FILES = {
  "cpu.stat":
    "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\nnr_bursts 1\nburst_usec 2\n",
  "cpu.pressure":
    "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
  "memory.current": "1048576\n",
  "memory.max": "max\n",
  "memory.peak": "2097152\n",
  "memory.swap.current": "4096\n",
  "memory.swap.max": "8192\n",
  "memory.stat":
    "anon 111\nfile 222\nkernel_stack 16\nslab 30\nsock 5\nfile_mapped 7\ninactive_file 40\npgfault 99\npgmajfault 3\nworkingset_refault_anon 1\nworkingset_refault_file 2\n",
  "memory.events": "low 0\nhigh 1\nmax 6\noom 2\noom_kill 1\noom_group_kill 0\n",
  "pids.current": "2\n",
  "pids.max": "max\n",
  "io.stat":
    "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n254:16 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
  "hugetlb.2MB.current": "2097152\n",
  "hugetlb.2MB.max": "max\n",
  "hugetlb.2MB.events": "max 5\n",
};

describe("metrics of a container", () => {
  it("reads every cgroup v2 file", () => {
    const metrics = metricsV2({ cgroupFiles: FILES, netDev: NET_DEV });
    assert.equal(metrics.cpu?.usageUsec, 3000n);
    assert.equal(metrics.cpu?.userUsec, 2000n);
    assert.equal(metrics.cpu?.systemUsec, 1000n);
    assert.equal(metrics.cpu?.nrThrottled, 4n);
    assert.equal(metrics.cpu?.throttledUsec, 77n);
    assert.deepEqual(metrics.cpu?.psi?.some, { avg10: 1.5, avg60: 0.25, avg300: 0, total: 12345n });
    assert.equal(metrics.cpu?.psi?.full?.total, 5n);
    assert.equal(metrics.memory?.psi, undefined);
    assert.equal(metrics.memory?.usage, 1048576n);
    assert.equal(metrics.memory?.usageLimit, UNLIMITED);
    assert.equal(metrics.memory?.maxUsage, 2097152n);
    assert.equal(metrics.memory?.swapUsage, 4096n);
    assert.equal(metrics.memory?.workingsetRefault, 3n);
    assert.equal(metrics.memoryEvents?.oomKill, 1n);
    assert.deepEqual(metrics.pids, { current: 2n, limit: UNLIMITED });
    assert.deepEqual(metrics.io?.usage, [
      { major: 254n, minor: 0n, rbytes: 4096n, wbytes: 8192n, rios: 1n, wios: 2n },
      { major: 254n, minor: 16n, rbytes: 1n, wbytes: 0n, rios: 1n, wios: 0n },
    ]);
    assert.deepEqual(metrics.hugetlb, [{ current: 2097152n, max: UNLIMITED, pagesize: "2MB", failcnt: 5n }]);
    assert.deepEqual(metrics.network[1], {
      name: "eth0",
      rxBytes: 5000000n,
      rxPackets: 4000n,
      rxErrors: 3n,
      rxDropped: 2n,
      txBytes: 600000n,
      txPackets: 500n,
      txErrors: 7n,
      txDropped: 8n,
    });
  });

  it("computes the v1 metrics", () => {
    const metrics = metricsV1(metricsV2({ cgroupFiles: FILES, netDev: NET_DEV }));
    assert.deepEqual(metrics.cpu?.usage, {
      total: 3_000_000n,
      kernel: 1_000_000n,
      user: 2_000_000n,
      perCpu: [],
    });
    assert.deepEqual(metrics.cpu?.throttling, { periods: 9n, throttledPeriods: 4n, throttledTime: 77_000n });
    assert.equal(metrics.memory?.totalRss, 111n);
    assert.equal(metrics.memory?.totalInactiveFile, 40n);
    assert.deepEqual(metrics.memory?.usage, {
      limit: 2n ** 63n - 4096n,
      usage: 1048576n,
      max: 2097152n,
      failcnt: 6n,
    });
    assert.equal(metrics.memory?.swap?.usage, 1048576n + 4096n);
    assert.equal(metrics.memory?.kernel?.usage, 46n);
    assert.equal(metrics.memory?.kernelTcp?.usage, 5n);
    assert.equal(metrics.memoryOomControl?.oomKill, 1n);
    assert.deepEqual(metrics.pids, { current: 2n, limit: 0n });
    assert.deepEqual(
      metrics.blkio?.ioServiceBytesRecursive.slice(0, 3).map(({ op, value }) => [op, value]),
      [
        ["Read", 4096n],
        ["Write", 8192n],
        ["Total", 12288n],
      ],
    );
    assert.equal(metrics.network.length, 2);
  });

  it("sends the messages that CRI-O dereferences even if the guest sent nothing", () => {
    const nothing = metricsV2({ cgroupFiles: {}, netDev: "" });
    const v1 = MetricsV1.decode(metricsAny("v1", nothing).value);
    for (const part of [
      v1.memory?.usage,
      v1.memory?.kernel,
      v1.memory?.kernelTcp,
      v1.memory?.swap,
      v1.cpu?.usage,
      v1.cpu?.throttling,
      v1.pids,
    ])
      assert.notEqual(part, undefined);
    const v2 = MetricsV2.decode(metricsAny("v2", nothing).value);
    for (const part of [v2.memory, v2.cpu, v2.pids, v2.memoryEvents, v2.io]) assert.notEqual(part, undefined);
  });

  it("names the types without a prefix", () => {
    const nothing = metricsV2({ cgroupFiles: {}, netDev: "" });
    assert.equal(metricsAny("v1", nothing).typeUrl, "io.containerd.cgroups.v1.Metrics");
    assert.equal(metricsAny("v2", nothing).typeUrl, "io.containerd.cgroups.v2.Metrics");
  });

  it("detects a file system that is not cgroup2", async () => {
    assert.equal(await hostCgroupMode("/proc"), "v1");
  });

  it("adds up the metrics of a pod's containers", () => {
    const one = metricsV2({ cgroupFiles: FILES, netDev: NET_DEV });
    const sum = sumMetrics([one, one]);
    assert.equal(sum.cpu?.usageUsec, 6000n);
    assert.equal(sum.memory?.usage, 2n * 1048576n);
    assert.equal(sum.memory?.usageLimit, UNLIMITED);
    assert.equal(sum.memoryEvents?.oomKill, 2n);
    assert.deepEqual(sum.io?.usage[0], {
      major: 254n,
      minor: 0n,
      rbytes: 8192n,
      wbytes: 16384n,
      rios: 2n,
      wios: 4n,
    });
    assert.equal(sum.hugetlb.length, 1);
    assert.equal(sum.hugetlb[0]?.current, 2n * 2097152n);
    assert.deepEqual(sum.network, one.network);
    assert.deepEqual(sumMetrics([]).pids, { current: 0n, limit: 0n });
  });
});

describe("a hostile guest's statistics", () => {
  /** Almost valid text: real keys, separators and numbers in any order. */
  const line = fc
    .array(
      fc.oneof(
        fc.constantFrom(
          "usage_usec",
          "anon",
          "file",
          "max",
          "some",
          "full",
          "avg10",
          "total",
          "rbytes",
          "254:0",
        ),
        fc.constantFrom(" ", "=", "\n", ":", "-", ".", "\t", "__proto__", "eth0:"),
        fc.bigInt({ min: 0n, max: 2n ** 80n }).map(String),
        fc.string({ maxLength: 8, unit: "binary" }),
      ),
      { maxLength: 40 },
    )
    .map((parts) => parts.join(""));
  const name = fc.oneof(
    fc.constantFrom(
      ...Object.keys(FILES),
      "io.pressure",
      "rdma.current",
      "hugetlb.9999GB.current",
      "__proto__",
    ),
    fc.string({ maxLength: 20 }),
  );

  it("never throws, and the metrics can be encoded", () => {
    fc.assert(
      fc.property(fc.dictionary(name, line), line, (cgroupFiles, netDev) => {
        const metrics = metricsV2({ cgroupFiles, netDev });
        for (const mode of ["v1", "v2"] as const) {
          for (const some of [metrics, sumMetrics([metrics, metrics])])
            assert.ok(metricsAny(mode, some).value.length < 1 << 20);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("is bounded", () => {
    const many = (text: (index: number) => string) =>
      Array.from({ length: 100_000 }, (_, i) => text(i)).join("\n");
    const metrics = metricsV2({
      cgroupFiles: {
        "io.stat": many((i) => `${i}:0 rbytes=1`),
        ...Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`hugetlb.${i}KB.current`, "1"])),
      },
      netDev: many((i) => `e${i}: 1 2 3`),
    });
    assert.ok((metrics.io?.usage.length ?? 0) <= 256);
    assert.ok(metrics.hugetlb.length <= 16);
    assert.ok(metrics.network.length <= 64);
  });

  it("ignores numbers of more than 64 bits and invalid interface names", () => {
    const files = {
      "memory.current": "18446744073709551616",
      "pids.current": "-1",
      "cpu.stat": "usage_usec 1e9",
    };
    const metrics = metricsV2({ cgroupFiles: files, netDev: "" });
    assert.equal(metrics.memory?.usage, 0n);
    assert.equal(metrics.pids?.current, 0n);
    assert.equal(metrics.cpu?.usageUsec, 0n);
    assert.deepEqual(parseNetDev("a/b: 1 2\nmuch-too-long-name: 1 2\n: 1 2\n"), []);
  });
});
