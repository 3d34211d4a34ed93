import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAgent } from "../../test/testkit/fake-agent.ts";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { BoundedAgent } from "../agent/bounded-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { unavailable } from "../core/errors.ts";
import { PendingCalls } from "../core/pending-calls.ts";
import { GuestExec } from "./guest-process.ts";
import { Pod } from "./pod.ts";

const none = Deadline.none();
const exec = { containerId: "c1", execId: "e1" };

/** An exec of a running container, with an agent that keeps to deadlines. */
async function setUp() {
  const fake = new FakeAgent();
  const agent = new BoundedAgent(fake, {
    requestTimeout: 60_000,
    warn: () => undefined,
    calls: new PendingCalls(),
  });
  await agent.createContainer({ containerId: "c1", spec: {}, stdio: { terminal: false } }, none);
  await agent.start({ containerId: "c1", execId: "" }, none);
  let followed = 0;
  const runner = new GuestExec(agent, exec, {}, fakeIo(), () => void followed++);
  return { fake, runner, followed: () => followed };
}

for (const step of ["createExec", "openStream", "start"]) {
  test(`an exec whose start exceeds its deadline in ${step} is killed and deleted in the guest`, async () => {
    const { fake, runner, followed } = await setUp();
    const slow = deferred<void>();
    fake.faults.set(step, slow.promise);
    await assert.rejects(runner.start(Deadline.after(20)), { code: "DeadlineExceeded" });
    slow.resolve(); // the guest does it nevertheless
    fake.faults.clear();
    await runner.delete(none);
    assert.deepEqual(fake.processes, ["c1/"]);
    assert.equal(followed(), 0);
    await runner.start(none);
    assert.deepEqual(fake.processes, ["c1/", "c1/e1"]);
    assert.equal(followed(), 1);
  });

  test(`an exec whose start fails in ${step} is gone from the guest when the failure is reported`, async () => {
    const { fake, runner } = await setUp();
    fake.faults.set(step, new Error("broken"));
    await assert.rejects(runner.start(none), { message: "broken" });
    assert.deepEqual(fake.processes, ["c1/"]);
  });
}

test("an exec that starts after its caller's deadline is killed without another call", async () => {
  const { fake, runner } = await setUp();
  const slow = deferred<void>();
  const deleted = deferred<void>();
  fake.faults.set("start", slow.promise);
  await assert.rejects(runner.start(Deadline.after(20)), { code: "DeadlineExceeded" });
  const original = fake.delete.bind(fake);
  fake.delete = (ref) => original(ref).finally(() => deleted.resolve());
  slow.resolve();
  await deleted.promise;
  assert.deepEqual(fake.processes, ["c1/"]);
  assert.ok(fake.calls.includes("signal c1/e1 9"));
});

test("the next call undoes what a failed start could not, and reports a failure", async () => {
  const { fake, runner } = await setUp();
  fake.faults.set("openStream", new Error("no stream"));
  fake.faults.set("delete", unavailable("no delete"));
  await assert.rejects(runner.start(none), { message: "no stream" });
  await assert.rejects(runner.delete(none), { message: "no delete" });
  fake.faults.clear();
  await runner.delete(none);
  assert.deepEqual(fake.processes, ["c1/"]);
});

test("a client that gives up an exec during its start, by Kill and Delete, leaves nothing running", async () => {
  const sandbox = new FakeSandbox();
  const pod = new Pod({
    id: "p1",
    boot: async () => sandbox,
    publish: () => undefined,
    log: () => undefined,
  });
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" } };
  const container = await create(pod, { id: "p1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  await container.start("", none);
  container.addExec("e1", {}, stdio, fakeIo());
  const slow = deferred<void>();
  sandbox.agent.faults.set("start", slow.promise);
  const starting = container.start("e1", none);
  // As containerd's WithProcessKill: FailedPrecondition would count as nothing to kill.
  const killed = container.signal("e1", { signal: 9, all: true, escalation: "never" }, none);
  slow.resolve();
  await Promise.all([starting, killed]);
  assert.equal((await container.process("e1").exited).status, 137);
  await container.deleteExec("e1", none);
  assert.deepEqual(sandbox.agent.processes, ["p1/"]);
});
