/** Calls that meet in one container. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { PodEvent } from "./events.ts";
import { Pod } from "./pod.ts";

const forever = Deadline.none();
const KILL = { signal: 9, all: false, escalation: "never" } as const;
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => "OK",
    (error) => HullError.from(error).code,
  );

function podWith(sandbox: FakeSandbox) {
  const events: PodEvent[] = [];
  const options = { boot: async () => sandbox, log: () => undefined };
  const pod = new Pod({ id: "p1", publish: (event) => events.push(event), ...options });
  return { sandbox, pod, events };
}

function request(id: string, kind: "sandbox" | "container") {
  const annotations = { "io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": "p1" };
  const spec = { process: { args: ["x"] }, root: { path: "rootfs" }, annotations };
  return { id, bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() };
}

async function withExec() {
  const { sandbox, pod, events } = podWith(new FakeSandbox());
  await create(pod, request("p1", "sandbox"));
  const container = await create(pod, request("c1", "container"));
  await container.start("", forever);
  container.addExec("e1", {}, stdio, fakeIo());
  const calls = () => sandbox.agent.calls.filter((call) => call.endsWith("c1/e1"));
  return { sandbox, container, events, calls };
}

test("of two Starts of one exec the second is refused, and one process runs", async () => {
  const { container, events, calls } = await withExec();
  const outcomes = await Promise.all([
    outcome(container.start("e1", forever)),
    outcome(container.start("e1", forever)),
  ]);
  assert.deepEqual(outcomes, ["OK", "FailedPrecondition"]);
  assert.deepEqual(calls(), ["createExec c1/e1", "start c1/e1"]);
  assert.equal(events.filter(({ kind }) => kind === "exec-started").length, 1);
});

test("Delete of an exec that is being started waits for it, and leaves one that runs", async () => {
  const { sandbox, container, calls } = await withExec();
  const gate = deferred<void>();
  sandbox.agent.faults.set("createExec", gate.promise);
  const started = outcome(container.start("e1", forever));
  const deleted = outcome(container.deleteExec("e1", forever));
  gate.resolve();
  assert.deepEqual([await started, await deleted], ["OK", "FailedPrecondition"]);
  assert.equal(container.status("e1").state, "running");
  assert.deepEqual(calls(), ["createExec c1/e1", "start c1/e1"]);
});

test("Delete of an exec that is being started waits no longer than its caller", async () => {
  const { sandbox, container } = await withExec();
  const gate = deferred<void>();
  sandbox.agent.faults.set("createExec", gate.promise);
  const started = outcome(container.start("e1", forever));
  const impatient = Deadline.none();
  const deleted = outcome(container.deleteExec("e1", impatient));
  impatient.cancel();
  assert.equal(await deleted, "Canceled");
  gate.resolve();
  assert.equal(await started, "OK");
  assert.equal(container.status("e1").state, "running");
});

test("an exec that is being deleted cannot be started any more", async () => {
  const { container, calls } = await withExec();
  const outcomes = await Promise.all([
    outcome(container.deleteExec("e1", forever)),
    outcome(container.start("e1", forever)),
    outcome(container.deleteExec("e1", forever)),
  ]);
  assert.deepEqual(outcomes, ["OK", "FailedPrecondition", "NotFound"]);
  assert.deepEqual(calls(), []);
});

/** What may be called, on one of two containers and one exec of it. */
const CALLS = [
  "create",
  "start",
  "exec",
  "start-exec",
  "kill",
  "kill-exec",
  "delete",
  "delete-exec",
] as const;
const callArbitrary = fc.record({
  call: fc.constantFrom(...CALLS),
  id: fc.constantFrom("c1", "c2"),
  /** Turns of the event loop before the next call. */
  pause: fc.nat(3),
});
/** How the guest takes each call, in turn: after so many turns of the event loop, and whether it fails then. */
const moodArbitrary = fc.record({ turns: fc.nat(4), fails: fc.constantFrom(false, false, false, true) });

type Call = { call: (typeof CALLS)[number]; id: string };

async function perform(pod: Pod, { call, id }: Call): Promise<unknown> {
  if (call === "create") return await create(pod, request(id, "container"));
  if (call === "delete") return await pod.delete(id, forever);
  const container = pod.container(id);
  switch (call) {
    case "start":
      return await container.start("", forever);
    case "exec":
      return container.addExec("e1", {}, stdio, fakeIo());
    case "start-exec":
      return await container.start("e1", forever);
    case "kill":
      return await container.signal("", KILL, forever);
    case "kill-exec":
      return await container.signal("e1", KILL, forever);
    case "delete-exec":
      return await container.deleteExec("e1", forever);
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** An agent that takes its time and fails as it likes in whatever does not end processes. */
function moody(sandbox: FakeSandbox, moods: readonly { turns: number; fails: boolean }[]): void {
  let next = 0;
  const { agent } = sandbox;
  for (const name of ["createContainer", "createExec", "start", "delete", "openStream"] as const) {
    const call = agent[name].bind(agent) as (...args: unknown[]) => Promise<unknown>;
    const changed = async (...args: unknown[]) => {
      const mood = moods[next++ % moods.length];
      await turns(mood?.turns ?? 0);
      if (mood?.fails) throw unavailable(`${name}: a bad mood`);
      return await call(...args);
    };
    Object.assign(agent, { [name]: changed });
  }
}

test("calls that meet in any way, with a guest that fails in any of them: all are answered, nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(callArbitrary, { maxLength: 30 }),
      fc.array(moodArbitrary, { minLength: 1, maxLength: 20 }),
      async (calls, moods) => {
        const { sandbox, pod, events } = podWith(new FakeSandbox());
        await create(pod, request("p1", "sandbox"));
        moody(sandbox, moods);
        const answers: Promise<string>[] = [];
        for (const call of calls) {
          answers.push(outcome(perform(pod, call)));
          await turns(call.pause);
        }
        const codes = await Promise.all(answers);
        assert.ok(!codes.includes("Internal") && !codes.includes("Unknown"), codes.join(" "));
        await pod.dispose();
        assert.equal(sandbox.shared.size, 0);
        for (const id of ["c1", "c2"]) {
          const kinds = events.filter((event) => event.containerId === id).map(({ kind }) => kind);
          const count = (kind: string) => kinds.filter((one) => one === kind).length;
          assert.ok(count("delete") <= count("create") && count("start") <= count("create"), kinds.join(" "));
        }
      },
    ),
    { numRuns: 300 },
  );
});
