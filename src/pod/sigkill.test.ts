/** SIGKILL works whatever the guest does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../test/testkit/fake-clock.ts";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, internal, notFound } from "../core/errors.ts";
import { Pod } from "./pod.ts";
import type { PodEvent } from "./pod-event.ts";

const forever = Deadline.none();
const KILL = { signal: 9, all: false, escalation: "never" } as const;
const silence = new Promise(() => undefined);
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
const code = (error: unknown) => HullError.from(error).code;

/** A pod of one running container whose guest has 20 ms for a SIGKILL. */
async function setUp(annotations: Record<string, string> = {}) {
  const sandbox = new FakeSandbox();
  sandbox.killTimeoutMs = 20;
  const events: PodEvent[] = [];
  const reasons: unknown[] = [];
  const pod = new Pod({
    id: "p1",
    boot: async () => sandbox,
    publish: (event) => events.push(event),
    log: (_, fields) => reasons.push(fields?.reason),
  });
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" }, annotations };
  const container = await create(pod, { id: "p1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  return { sandbox, pod, container, events, reasons };
}

/** A pod of several: the pause container, and one that was created in it. */
async function setUpMember() {
  const { pod, ...rest } = await setUp({ "io.kubernetes.cri.container-type": "sandbox" });
  const spec = {
    process: { args: ["true"] },
    root: { path: "rootfs" },
    annotations: {
      "io.kubernetes.cri.container-type": "container",
      "io.kubernetes.cri.sandbox-id": "p1",
    },
  };
  const container = await create(pod, { id: "c1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  return { ...rest, pod, container };
}

test("a guest that does not answer SIGKILL loses its VM, and everybody is told the truth", async () => {
  const { sandbox, pod, container, events, reasons } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", silence);
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 1);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(container.status("").state, "stopped");
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["create", "start", "exit"],
  );
  const told = /the VM was killed: container p1 cannot be killed: .*SIGKILL: timed out after 20 ms/;
  assert.match((await pod.ended).reason ?? "", told);
  assert.match(String(reasons[0]), told);
  await pod.delete("p1", forever);
  assert.equal(sandbox.shared.size, 0);
});

test("a VMM that SIGKILL does not end holds neither Kill nor Delete for ever", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container } = await setUp();
  sandbox.kill = () => silence as Promise<void>;
  const told = async (call: Promise<unknown>) => {
    const failed = assert.rejects(call, {
      code: "Unavailable",
      message: /the VMM was also sent SIGKILL and/,
    });
    for (const ms of [0, sandbox.killTimeoutMs, 30_000]) await clock.pass(ms);
    await failed;
  };
  sandbox.agent.signal = async () => undefined;
  await told(pod.delete("p1", forever));
  await container.start("", forever);
  sandbox.agent.signal = () => silence as Promise<void>;
  await told(container.signal("", KILL, forever));
  assert.equal(container.status("").state, "running");
});

test("a caller who waits no longer does not save the guest", async () => {
  const { sandbox, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", silence);
  const impatient = Deadline.none();
  const killed = container.signal("", KILL, impatient).then(() => "OK", code);
  impatient.cancel();
  assert.equal(await killed, "Canceled");
  assert.equal(sandbox.kills, 0);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(sandbox.kills, 1);
});

test("a guest that refuses SIGKILL loses its VM", async () => {
  const { sandbox, pod, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", internal("no"));
  await container.signal("", KILL, forever);
  assert.equal((await container.init.exited).status, 137);
  assert.match((await pod.ended).reason ?? "", /container p1 cannot be killed: no/);
});

test("a VM whose only container outlives an answered SIGKILL is ended", async () => {
  const { sandbox, pod, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.signal = async () => undefined;
  await container.signal("", KILL, forever);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(sandbox.kills, 1);
  assert.match((await pod.ended).reason ?? "", /container p1 has not exited 20 ms after SIGKILL/);
});

test("in a pod of several a guest that answers and does nothing is believed once", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container } = await setUpMember();
  await container.start("", forever);
  sandbox.agent.signal = async () => undefined;
  await container.signal("", KILL, forever);
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 0);
  await clock.pass(2 * sandbox.killTimeoutMs);
  assert.equal(sandbox.kills, 0);
  assert.equal(container.status("").state, "running");
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 1);
  assert.equal((await container.init.exited).status, 137);
  assert.match(
    (await pod.ended).reason ?? "",
    /container c1 is still alive \d+ ms after .* answered SIGKILL/,
  );
});

test("in a pod of several one SIGKILL is enough where a process of the VM is stopped", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container } = await setUpMember();
  await container.start("", forever);
  sandbox.agent.signal = async () => undefined;
  sandbox.stoppedComponents = ["virtiofsd (process 5)"];
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 0, "what does not need that process may still end");
  await clock.pass(sandbox.killTimeoutMs);
  assert.equal((await container.init.exited).status, 137);
  assert.match((await pod.ended).reason ?? "", /20 ms after SIGKILL, and virtiofsd \(process 5\) is stopped/);
});

test("SIGKILL while the guest's Start hangs ends the VM, and Start says why it failed", async () => {
  for (const [kind, signals] of [
    ["kills it", undefined],
    ["does nothing", async () => undefined],
    ["does not know it", () => Promise.reject(notFound("process already finished"))],
    ["is silent", () => silence as Promise<void>],
  ] as const) {
    for (const several of [true, false]) {
      const { sandbox, pod, container, events } = await (several ? setUpMember() : setUp());
      sandbox.agent.faults.set("start", silence);
      const started = container.start("", forever).catch((error: unknown) => String(error));
      await new Promise(setImmediate);
      if (signals) sandbox.agent.signal = signals;
      await container.signal("", KILL, forever).catch((error) => assert.equal(code(error), "NotFound"));
      const subject = `${container.id}: a guest that ${kind}`;
      assert.equal((await container.init.exited).status, 137, subject);
      assert.equal(sandbox.kills, 1, subject);
      assert.match(String(await started), /the VM was killed: container .1 (has not exited 20 ms|cannot be)/);
      assert.equal(container.status("").state, "stopped");
      const exits = events.filter((event) => event.kind === "exit" && event.containerId === container.id);
      assert.deepEqual(
        exits.map((event) => event.kind === "exit" && event.exit.status),
        [137],
      );
      assert.match((await pod.ended).reason ?? "", /the VM was killed: container/);
    }
  }
});

test("SIGKILL in a pod of several during a Start that goes on to its end ends no VM", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, container } = await setUpMember();
  const gate = deferred<void>();
  sandbox.agent.faults.set("start", gate.promise);
  const started = container.start("", forever);
  await new Promise(setImmediate);
  sandbox.agent.signal = async () => undefined; // it sleeps where no signal wakes it
  await container.signal("", KILL, forever);
  gate.resolve();
  await started;
  await clock.pass(2 * sandbox.killTimeoutMs);
  assert.equal(sandbox.kills, 0);
  assert.equal(container.status("").state, "running");
});

test("Delete of a created container works with a guest that says nothing, or does nothing", async () => {
  for (const signal of [() => silence, async () => undefined]) {
    const { sandbox, pod } = await setUp();
    sandbox.agent.signal = signal as () => Promise<void>;
    assert.equal((await pod.delete("p1", forever)).status, 137);
    assert.equal(sandbox.kills, 1);
    assert.equal(sandbox.shared.size, 0);
  }
});

test("an exec that lives on does not end the VM, a guest that says nothing about it does", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, container } = await setUp();
  await container.start("", forever);
  container.addExec("e1", {}, stdio, fakeIo());
  await container.start("e1", forever);
  const { signal } = sandbox.agent;
  sandbox.agent.signal = async () => undefined;
  sandbox.stoppedComponents = ["virtiofsd (process 5)"];
  await container.signal("e1", KILL, forever);
  await clock.pass(2 * sandbox.killTimeoutMs);
  await container.signal("e1", KILL, forever);
  assert.equal(sandbox.kills, 0);
  sandbox.agent.signal = signal;
  sandbox.agent.faults.set("signal", silence);
  const killed = container.signal("e1", KILL, forever);
  await clock.pass(sandbox.killTimeoutMs);
  await killed;
  assert.equal(sandbox.kills, 1);
  assert.equal((await container.process("e1").exited).status, 137);
});

test("other signals end nothing", async () => {
  const { sandbox, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", internal("no"));
  await assert.rejects(container.signal("", { ...KILL, signal: 15 }, forever), { code: "Internal" });
  assert.equal(sandbox.kills, 0);
});
