/** Statistics that containerd gets, compared with the guest's cgroup files under a known load. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { forEveryRunner } from "./fixture.ts";

const CGROUP = ["--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"];
const LIMIT = 96 << 20;

/** The v1 metrics of `ctr task metrics --format json` that are compared; zeros are omitted. */
interface MetricsV1 {
  readonly pids: { current?: number };
  readonly cpu: { usage: { total?: number; user?: number; kernel?: number } };
  readonly memory: {
    usage: { usage?: number; limit?: number; max?: number };
    total_rss?: number;
    total_cache?: number;
  };
  readonly network?: readonly { name: string; rx_bytes?: number }[];
}

interface MetricsV2 {
  readonly pids: { current?: number };
  readonly cpu: { usage_usec?: number; user_usec?: number; system_usec?: number };
  readonly memory: { usage?: number; usage_limit?: number; max_usage?: number; anon?: number; file?: number };
}

/** Returns both kinds with common names; times in microseconds. */
function common(metrics: MetricsV1 | MetricsV2) {
  const { pids } = metrics;
  if ("usage" in metrics.cpu) {
    const { cpu, memory, network = [] } = metrics as MetricsV1;
    const usec = (nanoseconds = 0) => nanoseconds / 1000;
    return {
      cpu: { total: usec(cpu.usage.total), user: usec(cpu.usage.user), system: usec(cpu.usage.kernel) },
      memory: { limit: memory.usage.limit, anon: memory.total_rss ?? 0, file: memory.total_cache ?? 0 },
      pids,
      network,
    };
  }
  const { cpu, memory } = metrics as MetricsV2;
  return {
    cpu: { total: cpu.usage_usec ?? 0, user: cpu.user_usec ?? 0, system: cpu.system_usec ?? 0 },
    memory: { limit: memory.usage_limit, anon: memory.anon ?? 0, file: memory.file ?? 0 },
    pids,
    network: undefined, // ctr 2.1 does not know the field
  };
}

forEveryRunner(
  "stats",
  (runner) => {
    it("agrees with the guest's cgroup files under a known load", async () => {
      const id = runner().id();
      // User time by counting, system time by reading /dev/zero, 16 MiB of page cache in a tmpfs.
      const load =
        "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; cg=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); " +
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; " +
        "cat $cg/cpu.stat $cg/memory.stat; echo done; exec sleep 1000";
      const running = runner().start(["sh", "-c", load], {
        id,
        flags: ["--memory-limit", String(LIMIT), ...CGROUP],
      });
      try {
        await running.printed("done\n");
        const { stdout } = await runner().ctr.expect(["tasks", "metrics", "--format", "json", id]);
        const stats = common(JSON.parse(stdout) as MetricsV1 | MetricsV2);
        await runner().ctr.expect(["tasks", "kill", "--signal", "SIGKILL", id]);
        const guest = new Map(
          (await running.ended).stdout.split("\n").map((line) => line.split(" ") as [string, string]),
        );
        const guestValue = (key: string) => Number(guest.get(key));
        const near = (what: string, actual: number, expected: number, slack: number) =>
          assert.ok(
            Math.abs(actual - expected) <= slack,
            `${what}: ${actual}, the guest reports ${expected}`,
          );
        // CPU times only grow between the two readings, by about a second at most.
        near("cpu total", stats.cpu.total, guestValue("usage_usec"), 1_000_000);
        near("cpu user", stats.cpu.user, guestValue("user_usec"), 500_000);
        near("cpu system", stats.cpu.system, guestValue("system_usec"), 500_000);
        assert.ok(stats.cpu.total >= guestValue("usage_usec"));
        near("user + system", stats.cpu.user + stats.cpu.system, stats.cpu.total, 20_000);
        near("page cache", stats.memory.file, guestValue("file"), 4 << 20);
        assert.ok(stats.memory.file >= 16 << 20, `page cache: ${stats.memory.file}`);
        assert.equal(stats.memory.limit, LIMIT);
        assert.equal(stats.pids.current, 1);
        if (stats.network) assert.ok(stats.network.some(({ name }) => name === "lo"));
      } finally {
        await runner().ctr.call(["tasks", "kill", "--signal", "SIGKILL", id]);
        await running.ended;
      }
    });
  },
  ["hull"],
);
