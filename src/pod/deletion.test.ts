/** Deletions of ended containers and execs by a guest that does not answer, or refuses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../test/testkit/fake-clock.ts";
import { create, FakeSandbox, fakeIo, podOn } from "../../test/testkit/fake-sandbox.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { failedPrecondition, HullError } from "../core/errors.ts";

const forever = Deadline.none();
const KILL = { signal: 9, all: true, escalation: "never" } as const;
const never = new Promise(() => undefined);
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
const code = (error: unknown) => HullError.from(error).code;
const STOPPED = { text: "qemu (process 5) is stopped; the guest agent does not answer", stopped: true };
const UNRESPONSIVE = { text: "the guest agent does not answer", stopped: false };

/** A pod whose container c1 has exited with 3, and its exec e1 with 4. */
async function setUp() {
  const sandbox = new FakeSandbox();
  sandbox.killTimeoutMs = 20;
  const pod = podOn(sandbox);
  const add = (id: string, type: string) => {
    const annotations = { "io.kubernetes.cri.container-type": type, "io.kubernetes.cri.sandbox-id": "p1" };
    const spec = { process: { args: ["true"] }, root: { path: "rootfs" }, annotations };
    return create(pod, { id, bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  };
  await add("p1", "sandbox");
  const container = await add("c1", "container");
  await container.start("", forever);
  container.addExec("e1", {}, stdio, fakeIo());
  await container.start("e1", forever);
  sandbox.agent.end({ containerId: "c1", execId: "e1" }, 4);
  await container.process("e1").exited;
  sandbox.agent.end({ containerId: "c1", execId: "" }, 3);
  const exit = await container.init.exited;
  return { sandbox, pod, container, exit };
}

test("a deletion that the guest does not answer fails, releases nothing, and works when the guest answers again", async () => {
  const { sandbox, pod, container, exit } = await setUp();
  sandbox.agent.faults.set("delete", never);
  for (const reason of [STOPPED, UNRESPONSIVE]) {
    sandbox.unresponsive = reason;
    const cause = `${reason.text}; nothing was released; delete it again when the guest answers, or stop the pod`;
    await assert.rejects(pod.delete("c1", within(30_000)), {
      code: "Unavailable",
      message: `delete container c1: ${cause}`,
    });
    await assert.rejects(container.deleteExec("e1", within(30_000)), {
      code: "Unavailable",
      message: `delete exec e1 of container c1: ${cause}`,
    });
  }
  assert.equal(container.status("").state, "stopped");
  assert.ok(sandbox.shared.has("c1"));
  sandbox.unresponsive = undefined;
  sandbox.agent.faults.delete("delete");
  assert.equal((await container.deleteExec("e1", forever)).status, 4);
  assert.deepEqual(await pod.delete("c1", forever), exit);
  assert.deepEqual([sandbox.shared.has("c1"), sandbox.kills], [false, 0]);
});

test("a deletion waits for a slow guest as long as that answers other calls", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, exit } = await setUp();
  const gate = deferred<void>();
  sandbox.agent.faults.set("delete", gate.promise);
  const settled: string[] = [];
  const removed = pod.delete("c1", forever).finally(() => settled.push("delete"));
  for (let steps = 0; steps < 20; steps++) await clock.pass(sandbox.killTimeoutMs);
  assert.deepEqual(settled, []);
  gate.resolve();
  assert.deepEqual(await removed, exit);
});

test("a deletion fails if the guest becomes unresponsive meanwhile", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod } = await setUp();
  sandbox.agent.faults.set("delete", never);
  const removed = pod.delete("c1", forever).catch(code);
  for (let steps = 0; steps < 20; steps++) await clock.pass(sandbox.killTimeoutMs);
  sandbox.unresponsive = UNRESPONSIVE;
  await clock.pass(sandbox.killTimeoutMs);
  assert.equal(await removed, "Unavailable");
});

test("a caller with a shorter deadline gets DeadlineExceeded", async () => {
  const { sandbox, pod } = await setUp();
  sandbox.killTimeoutMs = 600_000;
  sandbox.agent.faults.set("delete", never);
  const limit = Deadline.after(10, "the caller");
  await assert.rejects(pod.delete("c1", limit), { code: "DeadlineExceeded" });
});

test("SIGKILL to a container that a stopped VM cannot delete kills the VM, and Delete returns the container's exit", async () => {
  const { sandbox, pod, container, exit } = await setUp();
  sandbox.agent.faults.set("delete", never);
  sandbox.unresponsive = STOPPED;
  const kill = () => container.signal("", KILL, forever).catch(code);
  assert.deepEqual([await kill(), sandbox.kills], ["NotFound", 0]); // its deletion has not been requested
  await assert.rejects(pod.delete("c1", within(30_000)), { code: "Unavailable" });
  assert.deepEqual([await kill(), sandbox.kills], ["NotFound", 1]);
  assert.match(
    (await pod.ended).reason ?? "",
    /^the VM was killed: container c1 has exited and could not be deleted for \d+ ms: qemu \(process 5\) is stopped/,
  );
  assert.deepEqual(await pod.delete("c1", forever), exit);
  assert.equal((await pod.container("p1").init.exited).status, 137);
  await pod.delete("p1", forever);
  assert.deepEqual([sandbox.shared.size, pod.empty], [0, true]);
});

test("SIGKILL while a stopped VM does not answer Delete kills the VM, and Delete succeeds", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container, exit } = await setUp();
  sandbox.agent.faults.set("delete", never);
  const removed = pod.delete("c1", forever);
  await clock.pass(1);
  sandbox.unresponsive = STOPPED;
  assert.equal(await container.signal("", KILL, forever).catch(code), "NotFound");
  assert.deepEqual(await removed, exit);
});

test("SIGKILL kills the VM of a guest that has not answered or has refused a deletion for 30 s", async (t) => {
  for (const [fault, reason] of [
    [never, UNRESPONSIVE],
    [failedPrecondition("no"), undefined],
  ] as const) {
    await t.test(reason ? "unresponsive" : "refuses", async (t) => {
      const clock = new FakeClock(t);
      const { sandbox, pod, container } = await setUp();
      sandbox.agent.faults.set("delete", fault);
      sandbox.unresponsive = reason;
      const removed = pod.delete("c1", forever).catch(code);
      await clock.pass(0); // it is under way
      await clock.pass(sandbox.killTimeoutMs);
      assert.equal(await removed, reason ? "Unavailable" : "FailedPrecondition");
      const kill = () => container.signal("", KILL, forever).catch(code);
      await clock.pass(25_000);
      assert.deepEqual([await kill(), sandbox.kills], ["NotFound", 0]);
      await clock.pass(5_000);
      assert.deepEqual([await kill(), sandbox.kills], ["NotFound", 1]);
      assert.equal((await pod.delete("c1", forever)).status, 3);
    });
  }
});
