/**
 * Random calls of a CRI pod with a fake agent, and the same calls of a small reference model: after each step the results
 * (or error codes) and all states agree, and the events are in the order that containerd needs.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import {
  expected,
  type ModelContainer,
  modelStates,
  type Op,
  opArbitrary,
} from "../../test/testkit/process-model.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { Pod } from "./pod.ts";
import type { PodEvent } from "./pod-event.ts";

const forever = Deadline.none();
const KILL = { signal: 9, all: false, escalation: "never" } as const;
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };

function request(id: string, kind: "sandbox" | "container") {
  const annotations = { "io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": "p1" };
  return {
    id,
    bundle: "/b",
    spec: { process: { args: ["x"] }, annotations },
    rootfs: [],
    stdio,
    io: fakeIo(),
  };
}

async function perform(pod: Pod, sandbox: FakeSandbox, op: Op): Promise<void> {
  if (op.op === "create") {
    await create(pod, request(op.c, "container"));
    return;
  }
  const container = pod.container(op.c);
  switch (op.op) {
    case "delete":
      await pod.delete(op.c, forever);
      return;
    case "pause":
      return await container.pause(forever);
    case "resume":
      return await container.resume(forever);
    case "end": {
      if (container.init.machine.is("created", "stopped")) throw new HullError("NotFound", "nothing runs");
      sandbox.agent.end({ containerId: op.c, execId: "" }, 0);
      await container.init.exited;
      return;
    }
    case "start":
      return await container.start(op.e, forever);
    case "kill":
      await container.signal(op.e, KILL, forever);
      await container.process(op.e).exited;
      return;
    case "exec":
      if (op.e !== "") container.addExec(op.e, {}, stdio, fakeIo());
      return;
    case "end-exec": {
      if (op.e === "" || !container.process(op.e).machine.is("running"))
        throw new HullError("NotFound", "nothing runs");
      sandbox.agent.end({ containerId: op.c, execId: op.e }, 0);
      await container.process(op.e).exited;
      return;
    }
    case "delete-exec":
      if (op.e === "") throw new HullError("NotFound", "no exec");
      await container.deleteExec(op.e, forever);
  }
}

function statesOf(pod: Pod, model: Map<string, ModelContainer>): Record<string, string> {
  const states: Record<string, string> = {};
  for (const [id, { execs }] of model) {
    for (const exec of ["", ...execs.keys()]) states[`${id}/${exec}`] = pod.container(id).status(exec).state;
  }
  return states;
}

/** For each process: create < start < exit < delete, each at most once in a life; execs end before their container. */
function checkOrder(events: readonly PodEvent[]): void {
  const RANK = { create: 0, "exec-added": 0, start: 1, "exec-started": 1, exit: 2, delete: 3 } as const;
  const rank = new Map<string, number>();
  const running = new Map<string, Set<string>>();
  for (const event of events) {
    if (event.kind === "oom" || event.kind === "paused" || event.kind === "resumed") continue;
    const exec = "execId" in event ? event.execId : "";
    const name = `${event.containerId}/${exec}`;
    const now = RANK[event.kind];
    const before = rank.get(name);
    if (now === 0) assert.ok(before === undefined || before === 3 || exec !== "", `${name}: created twice`);
    else assert.ok(before !== undefined && now > before, `${name}: ${event.kind} after rank ${before}`);
    rank.set(name, now);
    const execs = running.get(event.containerId) ?? new Set();
    running.set(event.containerId, execs);
    if (event.kind === "exec-started") execs.add(exec);
    if (event.kind === "exit" && exec !== "") execs.delete(exec);
    if (event.kind === "exit" && exec === "")
      assert.equal(execs.size, 0, `${event.containerId} exited before its execs`);
  }
}

test("random calls: results, states and events agree with the model", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(opArbitrary, { maxLength: 60 }), async (ops) => {
      const sandbox = new FakeSandbox();
      const events: PodEvent[] = [];
      const pod = new Pod({
        id: "p1",
        boot: async () => sandbox,
        publish: (event) => events.push(event),
        log: () => undefined,
      });
      await create(pod, request("p1", "sandbox"));
      const model = new Map<string, ModelContainer>();
      for (const op of ops) {
        const want = expected(model, op);
        const got = await perform(pod, sandbox, op).then(
          () => "OK",
          (error) => HullError.from(error).code,
        );
        assert.equal(got, want, JSON.stringify(op));
        assert.deepEqual(statesOf(pod, model), modelStates(model), JSON.stringify(op));
      }
      checkOrder(events);
      await pod.dispose();
      assert.equal(sandbox.shared.size, 0);
    }),
    { numRuns: 300 },
  );
});
