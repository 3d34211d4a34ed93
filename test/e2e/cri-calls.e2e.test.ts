/** The calls of CRI that the kubelet makes of a running pod. */
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { ContainerState } from "../testkit/proto/generated/runtime/v1/container.ts";
import { LinuxContainerResources } from "../testkit/proto/generated/runtime/v1/pod.ts";
import { forEveryHandler, IDLE, sharedPod } from "./cri-fixture.ts";

forEveryHandler(
  "calls",
  (target) => {
    const pod = sharedPod(target);
    const seconds = (since: number) => (performance.now() - since) / 1000;

    it("executes commands: output, status, and an end at the timeout", async () => {
      const container = await pod().run(IDLE);
      assert.deepEqual(await container.sh("echo out; echo err >&2; exit 5"), {
        code: 5,
        stdout: "out\n",
        stderr: "err\n",
      });
      const begin = performance.now();
      await assert.rejects(container.exec(["sleep", "60"], 2), /DEADLINE_EXCEEDED|timeout/i);
      assert.ok(seconds(begin) < 20, `${seconds(begin)} s`);
      const { stdout } = await container.sh("ps -o args | grep '^sleep 60'; echo gone");
      assert.equal(stdout, "gone\n");
    });

    it("tells statistics that fit a known load", async () => {
      const container = await pod().run([
        "sh",
        "-c",
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; while :; do :; done",
      ]);
      const usage = async () => {
        const { stats } = await target().cri.runtime.containerStats({ containerId: container.id });
        return stats;
      };
      const first = await usage();
      await container.sh("sleep 3");
      const second = await usage();
      const cpu = (stats: typeof first) => Number(stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n);
      assert.ok(
        cpu(second) - cpu(first) > 0.5e9,
        `${cpu(second) - cpu(first)} ns of CPU time in 3 s of a busy loop`,
      );
      assert.ok((second?.memory?.workingSetBytes?.value ?? 0n) > 20n << 20n);
    });

    it("changes limits of a running container", async () => {
      const container = await pod().run(IDLE, { linux: { resources: { memoryLimitInBytes: 64n << 20n } } });
      await target().cri.runtime.updateContainerResources({
        containerId: container.id,
        linux: LinuxContainerResources.fromPartial({ memoryLimitInBytes: 48n << 20n, cpuShares: 512n }),
        annotations: {},
      });
      const { stdout } = await container.sh(
        "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
      );
      assert.equal(stdout, `${48 << 20}\n`);
    });

    it("stops with the grace period, and at once without", async () => {
      const run = async (trap: string) => {
        const script = `trap '${trap}' TERM; touch /trapped; while :; do sleep 0.2; done`;
        const container = await pod().run(["sh", "-c", script]);
        await container.sh("until test -e /trapped; do sleep 0.1; done");
        return container;
      };
      const polite = await run("exit 0");
      await polite.stop(20);
      assert.equal((await polite.exited()).exitCode, 0);
      const stubborn = await run("");
      const begin = performance.now();
      await stubborn.stop(2);
      assert.ok(seconds(begin) >= 2, `${seconds(begin)} s`);
      assert.equal((await stubborn.exited()).exitCode, 137);
    });

    it("removes a running container, and knows nothing of it then", async () => {
      const container = await pod().run(IDLE);
      assert.equal((await container.status()).state, ContainerState.CONTAINER_RUNNING);
      await container.remove();
      await assert.rejects(container.status(), /not found/i);
    });

    it("writes the kubelet's log files", async () => {
      const logs = join(target().directory, "logs");
      await mkdir(logs);
      const other = await target().runPod({ logDirectory: logs });
      const container = await other.run(["sh", "-c", "echo to stdout; echo to stderr >&2; seq 3000"], {
        logPath: "c.log",
      });
      await container.exited();
      const text = await readFile(join(logs, "c.log"), "utf8");
      assert.match(text, / stdout F to stdout$/m);
      assert.match(text, / stderr F to stderr$/m);
      assert.equal(text.match(/ stdout F \d+$/gm)?.length, 3000);
      await other.remove();
    });
  },
  ["2"],
);
