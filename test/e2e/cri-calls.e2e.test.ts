/** CRI calls that the kubelet makes for a running pod. */
import assert from "node:assert/strict";
import { mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CriPod, IDLE } from "../testkit/cri.ts";
import { ContainerFilter, ContainerState } from "../testkit/proto/generated/runtime/v1/container.ts";
import { LinuxContainerResources, PodSandboxState } from "../testkit/proto/generated/runtime/v1/pod.ts";
import {
  type ContainerEventResponse,
  ContainerEventType,
} from "../testkit/proto/generated/runtime/v1/runtime.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

const DELETED = ContainerEventType.CONTAINER_DELETED_EVENT;
const KINDS: Readonly<Record<number, string>> = {
  [ContainerEventType.CONTAINER_CREATED_EVENT]: "created",
  [ContainerEventType.CONTAINER_STARTED_EVENT]: "started",
  [ContainerEventType.CONTAINER_STOPPED_EVENT]: "stopped",
  [DELETED]: "deleted",
};

forEveryHandler(
  "calls",
  (target) => {
    const pod = sharedPod(target);
    const seconds = (since: number) => (performance.now() - since) / 1000;

    it("executes commands: output, status, and timeout", async () => {
      const container = await pod().run(IDLE);
      assert.deepEqual(await container.sh("echo out; echo err >&2; exit 5"), {
        code: 5,
        stdout: "out\n",
        stderr: "err\n",
      });
      const begin = performance.now();
      await assert.rejects(container.exec(["sleep", "60"], 2), /DEADLINE_EXCEEDED|timeout/i);
      assert.ok(seconds(begin) < 50, `${seconds(begin)} s`);
      const { stdout } = await container.sh("ps -o args | grep '^sleep 60'; echo gone");
      assert.equal(stdout, "gone\n");
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
      const [handling, ignoring] = await Promise.all([run("sleep 2; exit 3"), run("")]);
      const begin = performance.now();
      await Promise.all([
        handling.stop(30),
        ignoring.stop(2).then(() => assert.ok(seconds(begin) >= 2, `${seconds(begin)} s`)),
      ]);
      assert.equal((await handling.exited()).exitCode, 3, "the grace period is long enough for its handler");
      assert.equal((await ignoring.exited()).exitCode, 137);
    });

    it("keeps a container's exit status until it is removed", async () => {
      const failed = await pod().run(["sh", "-c", "exit 7"]);
      const done = await pod().run(["true"]);
      for (const [container, code, reason] of [
        [failed, 7, "Error"],
        [done, 0, "Completed"],
      ] as const) {
        const { exitCode, reason: why, createdAt, finishedAt } = await container.exited();
        assert.deepEqual([exitCode, why], [code, reason]);
        assert.ok(finishedAt > createdAt && createdAt > 0n);
      }
      const state = { state: ContainerState.CONTAINER_EXITED };
      const filter = ContainerFilter.fromPartial({ podSandboxId: pod().id, state });
      const { containers } = await target().cri.runtime.listContainers({ filter });
      assert.deepEqual(containers.map(({ id }) => id).sort(), [failed.id, done.id].sort());
    });

    it("removes a running container and forgets it", async () => {
      const container = await pod().run(IDLE);
      assert.equal((await container.status()).state, ContainerState.CONTAINER_RUNNING);
      await target().cri.runtime.removeContainer({ containerId: container.id }); // without stopping it first
      await assert.rejects(container.status(), /not found/i);
    });

    it("writes the kubelet's log files: full lines, parts of long ones, and a new file after rotation", async () => {
      const logs = join(target().directory, "logs");
      await mkdir(logs);
      const other = await target().runPod({ logDirectory: logs });
      const script =
        "echo to stdout; echo to stderr >&2; seq 3000; head -c 40000 /dev/zero | tr '\\0' x; echo; until test -e /go; do sleep 0.1; done; echo later";
      const container = await other.run(["sh", "-c", script], { logPath: "c.log" });
      const file = join(logs, "c.log");
      const before = await logged(file, / F x+$/m);
      assert.match(before, / stdout F to stdout$/m);
      assert.match(before, / stderr F to stderr$/m);
      assert.equal(before.match(/ stdout F \d+$/gm)?.length, 3000);
      const parts = [...before.matchAll(/ stdout ([PF]) (x+)$/gm)].map(([, tag, text]) => [
        tag,
        text?.length,
      ]);
      assert.deepEqual(parts, [
        ["P", 16384],
        ["P", 16384],
        ["F", 40000 - 2 * 16384],
      ]);
      await rename(file, `${file}.1`);
      await target().cri.runtime.reopenContainerLog({ containerId: container.id });
      await container.sh("touch /go");
      await container.exited();
      assert.match(await readFile(file, "utf8"), /^\S+ stdout F later\n$/);
      assert.equal(await readFile(`${file}.1`, "utf8"), before);
      await other.remove();
    });

    it("removes a pod with all that runs in it and forgets it", async () => {
      const { runtime } = target().cri;
      const other = await target().runPod();
      const running = await other.run(IDLE);
      for (const _ of ["once", "and again"]) await runtime.removePodSandbox({ podSandboxId: other.id });
      target().cri.forget(other);
      await assert.rejects(other.status(), /not found/i);
      await assert.rejects(running.status(), /not found/i);
    });

    it("reports the events of a pod and its containers in order, with their states", async (test) => {
      if (target().containerd.line !== "2")
        return test.skip("containerd 1.6 has no such call, 1.7 loses an event to every client that has left");
      const stream = target().cri.runtime.getContainerEvents({}, { timeoutMs: 120_000 });
      const made = target().runPod();
      const seen = eventsOf(made, stream);
      seen.catch(() => undefined); // the caller that awaits it gets the error
      const pod = await made;
      const container = await pod.run(["sh", "-c", "exit 7"]);
      await container.exited();
      await container.remove();
      const idle = await pod.run(IDLE);
      await pod.remove();
      const events = await seen;
      const names = new Map([
        [pod.id, "pod"],
        [container.id, "first"],
        [idle.id, "second"],
      ]);
      const texts = events.map(
        (event) => `${names.get(event.containerId)} ${KINDS[event.containerEventType]}`,
      );
      assert.equal(
        texts.join(", "),
        "pod created, pod started, first created, first started, first stopped, first deleted, " +
          "second created, second started, second stopped, pod stopped, second deleted, pod deleted",
      );
      const after = (event: string) => events[texts.indexOf(event)];
      const [stopped] = after("first stopped")?.containersStatuses ?? [];
      assert.deepEqual(
        [stopped?.id, stopped?.state, stopped?.exitCode],
        [container.id, ContainerState.CONTAINER_EXITED, 7],
      );
      assert.equal(after("second stopped")?.containersStatuses[0]?.exitCode, 137);
      assert.equal(after("pod stopped")?.podSandboxStatus?.state, PodSandboxState.SANDBOX_NOTREADY);
    });
  },
  ["2"],
);

/** The events of a pod until it is deleted. */
async function eventsOf(pod: Promise<CriPod>, stream: AsyncIterable<ContainerEventResponse>) {
  const events: ContainerEventResponse[] = [];
  for await (const event of stream) {
    const { id } = await pod;
    if (event.podSandboxStatus?.id === id) events.push(event);
    if (event.containerId === id && event.containerEventType === DELETED) return events;
  }
  throw new Error("the stream of events ended before the pod was deleted");
}

/** Waits until a log matches, and returns it: containerd writes it asynchronously. */
async function logged(file: string, expected: RegExp): Promise<string> {
  for (const end = performance.now() + 60_000; ; await sleep(50)) {
    const text = await readFile(file, "utf8");
    if (expected.test(text)) return text;
    if (performance.now() > end) throw new Error(`no ${expected} in the log: ${text.slice(-500)}`);
  }
}
