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
const never = new Promise(() => undefined);
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

/** A CRI pod: its pause container, and one that was created in it. */
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

test("the VM of a guest that does not answer SIGKILL is killed, with the reason in the log and in the pod's end", async () => {
  const { sandbox, pod, container, events, reasons } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", never);
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 1);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(container.status("").state, "stopped");
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["create", "start", "exit"],
  );
  const reason = /the VM was killed: container p1 cannot be killed: .*SIGKILL: timed out after 20 ms/;
  assert.match((await pod.ended).reason ?? "", reason);
  assert.match(String(reasons[0]), reason);
  await pod.delete("p1", forever);
  assert.equal(sandbox.shared.size, 0);
});

test("a VMM that survives SIGKILL does not block Kill or Delete forever", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container } = await setUp();
  sandbox.kill = () => never as Promise<void>;
  const fails = async (call: Promise<unknown>) => {
    const failed = assert.rejects(call, {
      code: "Unavailable",
      message: /the VMM was also sent SIGKILL and/,
    });
    for (const ms of [0, sandbox.killTimeoutMs, 30_000]) await clock.pass(ms);
    await failed;
  };
  sandbox.agent.signal = async () => undefined;
  await fails(pod.delete("p1", forever));
  await container.start("", forever);
  sandbox.agent.signal = () => never as Promise<void>;
  await fails(container.signal("", KILL, forever));
  assert.equal(container.status("").state, "running");
});

test("the VM is killed even if the caller of Kill no longer waits", async () => {
  const { sandbox, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", never);
  const caller = Deadline.none();
  const killed = container.signal("", KILL, caller).then(() => "OK", code);
  caller.cancel();
  assert.equal(await killed, "Canceled");
  assert.equal(sandbox.kills, 0);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(sandbox.kills, 1);
});

test("the VM of a guest that refuses SIGKILL is killed", async () => {
  const { sandbox, pod, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", internal("no"));
  await container.signal("", KILL, forever);
  assert.equal((await container.init.exited).status, 137);
  assert.match((await pod.ended).reason ?? "", /container p1 cannot be killed: no/);
});

test("a VM whose only container survives an answered SIGKILL is killed", async () => {
  const { sandbox, pod, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.signal = async () => undefined;
  await container.signal("", KILL, forever);
  assert.equal((await container.init.exited).status, 137);
  assert.equal(sandbox.kills, 1);
  assert.match((await pod.ended).reason ?? "", /container p1 has not exited 20 ms after SIGKILL/);
});

test("in a pod of several containers, the VM of a guest that only answers is killed by a second SIGKILL", async (t) => {
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

test("in a pod of several containers, one SIGKILL is enough if a process of the VM is stopped", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, pod, container } = await setUpMember();
  await container.start("", forever);
  sandbox.agent.signal = async () => undefined;
  sandbox.stoppedComponents = ["virtiofsd (process 5)"];
  await container.signal("", KILL, forever);
  assert.equal(sandbox.kills, 0, "a container that does not need that process may still exit");
  await clock.pass(sandbox.killTimeoutMs);
  assert.equal((await container.init.exited).status, 137);
  assert.match((await pod.ended).reason ?? "", /20 ms after SIGKILL, and virtiofsd \(process 5\) is stopped/);
});

test("SIGKILL while the guest's Start hangs kills the VM, and Start fails with the reason", async () => {
  for (const [kind, signals] of [
    ["kills it", undefined],
    ["does nothing", async () => undefined],
    ["does not know it", () => Promise.reject(notFound("process already finished"))],
    ["does not answer", () => never as Promise<void>],
  ] as const) {
    for (const several of [true, false]) {
      const { sandbox, pod, container, events } = await (several ? setUpMember() : setUp());
      sandbox.agent.faults.set("start", never);
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

test("in a pod of several containers, SIGKILL during a Start that succeeds does not kill the VM", async (t) => {
  const clock = new FakeClock(t);
  const { sandbox, container } = await setUpMember();
  const gate = deferred<void>();
  sandbox.agent.faults.set("start", gate.promise);
  const started = container.start("", forever);
  await new Promise(setImmediate);
  sandbox.agent.signal = async () => undefined; // the process is in uninterruptible sleep
  await container.signal("", KILL, forever);
  gate.resolve();
  await started;
  await clock.pass(2 * sandbox.killTimeoutMs);
  assert.equal(sandbox.kills, 0);
  assert.equal(container.status("").state, "running");
});

test("Delete of a created container works if the guest does not answer SIGKILL, or does nothing", async () => {
  for (const signal of [() => never, async () => undefined]) {
    const { sandbox, pod } = await setUp();
    sandbox.agent.signal = signal as () => Promise<void>;
    assert.equal((await pod.delete("p1", forever)).status, 137);
    assert.equal(sandbox.kills, 1);
    assert.equal(sandbox.shared.size, 0);
  }
});

test("the VM is killed for an exec only if the guest does not answer SIGKILL", async (t) => {
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
  sandbox.agent.faults.set("signal", never);
  const killed = container.signal("e1", KILL, forever);
  await clock.pass(sandbox.killTimeoutMs);
  await killed;
  assert.equal(sandbox.kills, 1);
  assert.equal((await container.process("e1").exited).status, 137);
});

test("other signals never kill the VM", async () => {
  const { sandbox, container } = await setUp();
  await container.start("", forever);
  sandbox.agent.faults.set("signal", internal("no"));
  await assert.rejects(container.signal("", { ...KILL, signal: 15 }, forever), { code: "Internal" });
  assert.equal(sandbox.kills, 0);
});
