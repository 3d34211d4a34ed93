/**
 * CRI's statistics under a known load: what the kubelet uses for eviction, and `kubectl top` and `crictl
 * stats` show.
 */
import assert from "node:assert/strict";
import { type AddressInfo, createServer } from "node:net";
import { cpus } from "node:os";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { cgroupPath, removeCgroup } from "../testkit/cgroup.ts";
import type { UInt64Value } from "../testkit/proto/generated/runtime/v1/pod.ts";
import type { ContainerStats, LinuxPodSandboxStats } from "../testkit/proto/generated/runtime/v1/stats.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

const MIB = 1 << 20;
/** The load: CPU time by the clock that counts it, memory in a tmpfs, a file, bytes to the host and back. */
const LOAD = { cpuTicks: 50, ticksPerSecond: 100, memory: 24 * MIB, file: 8 * MIB, network: MIB };

forEveryHandler("stats", (target, handler) => {
  const cgroupParent = cgroupPath(`cri-stats-${handler}`);
  const pod = sharedPod(target, { linux: { cgroupParent } });
  const echo = createServer((socket) => socket.pipe(socket));
  before(() => new Promise<void>((resolve) => echo.listen(0, resolve)));
  after(() => echo.close());
  after(() => removeCgroup(cgroupParent)); // the kubelet does this

  const number = (value: UInt64Value | undefined) => Number(value?.value ?? 0n);
  const within = (what: string, value: number, least: number, most: number) =>
    assert.ok(value >= least && value <= most, `${what}: ${value} is not within ${least} and ${most}`);

  async function podStats(): Promise<LinuxPodSandboxStats> {
    const { runtime } = target().cri;
    const { stats } = await runtime.podSandboxStats({ podSandboxId: pod().id });
    assert.equal(stats?.attributes?.id, pod().id);
    assert.ok(stats.linux);
    return stats.linux;
  }

  /** The writable layer is measured asynchronously, about once a second. */
  async function withFile(containerId: string): Promise<ContainerStats> {
    for (const end = performance.now() + 60_000; ; await sleep(200)) {
      const { stats } = await target().cri.runtime.containerStats({ containerId });
      assert.ok(stats);
      if (number(stats.writableLayer?.usedBytes) >= LOAD.file || performance.now() > end) return stats;
    }
  }

  it("reports CPU, memory, writable layer, network and processes under a known load, for container and pod", async () => {
    const { runtime } = target().cri;
    const begin = performance.now();
    // Three idle processes.
    const container = await pod().run(["sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"]);
    const { port } = echo.address() as AddressInfo;
    const before = await podStats();
    const { stdout, stderr } = await container.sh(
      `while read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ </proc/self/stat
         [ $((user + system)) -lt ${LOAD.cpuTicks} ]; do :; done
       dd if=/dev/zero of=/dev/shm/memory bs=1M count=${LOAD.memory / MIB}
       dd if=/dev/zero of=/file bs=1M count=${LOAD.file / MIB}
       head -c ${LOAD.network} /dev/zero | nc $(ip route | awk '/^default/ { print $3 }') ${port} | wc -c`,
    );
    assert.equal(stdout, `${LOAD.network}\n`, stderr);

    const stats = await withFile(container.id);
    const elapsed = (performance.now() - begin) * 1e6;
    const usedNs = (LOAD.cpuTicks / LOAD.ticksPerSecond) * 1e9;
    const cpu = number(stats.cpu?.usageCoreNanoSeconds);
    // The guest has one CPU here; while the host runs something else, its clock counts that, too.
    within("container's CPU", cpu, usedNs, target().hull ? elapsed : usedNs + 1e9);
    within("container's memory", number(stats.memory?.workingSetBytes), LOAD.memory, LOAD.memory + 8 * MIB);
    within("writable layer", number(stats.writableLayer?.usedBytes), LOAD.file, LOAD.file + MIB / 4);
    within("inodes", number(stats.writableLayer?.inodesUsed), 1, 20);
    const filter = { id: "", podSandboxId: pod().id, labelSelector: {} };
    const listed = await runtime.listContainerStats({ filter });
    assert.deepEqual(
      listed.stats.map(({ attributes }) => attributes?.id),
      [container.id],
    );

    const after = await podStats();
    const used = number(after.cpu?.usageCoreNanoSeconds) - number(before.cpu?.usageCoreNanoSeconds);
    // Read from the pod's cgroup on the host, which with hull contains the VM.
    within("pod's CPU", used, target().hull ? usedNs / 20 : usedNs, elapsed * cpus().length);
    const memory = number(after.memory?.workingSetBytes);
    if (target().hull) within("pod's memory", memory, LOAD.memory + 64 * MIB, 512 * MIB);
    else within("pod's memory", memory, LOAD.memory, LOAD.memory + 16 * MIB);
    const { name, rxBytes, txBytes } = after.network?.defaultInterface ?? {};
    assert.equal(name, "eth0");
    within("received", number(rxBytes), LOAD.network, 1.5 * LOAD.network);
    within("sent", number(txBytes), LOAD.network, 1.5 * LOAD.network);
    // containerd 2 takes the number from the container's metrics; earlier releases count the result of Pids.
    const listsVmm = target().hull && target().containerd.line !== "2";
    assert.equal(number(after.process?.processCount), listsVmm ? 1 : 3);
    assert.deepEqual(
      after.containers.map(({ attributes }) => attributes?.id),
      [container.id],
    );
    const { stats: pods } = await runtime.listPodSandboxStats({
      filter: { id: pod().id, labelSelector: {} },
    });
    assert.deepEqual(
      pods.map(({ attributes }) => attributes?.id),
      [pod().id],
    );
  });
});
