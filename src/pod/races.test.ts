/** Concurrent calls about one container. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError } from "../core/errors.ts";
import { Pod } from "./pod.ts";
import type { PodEvent } from "./pod-event.ts";

/** 10000 runs take some minutes. */
const RUNS = Number(process.env.HULL_RACES ?? 300);

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

test("Delete of an exec that is being started waits, then refuses because it runs", async () => {
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

test("Delete of an exec that is being started waits no longer than its deadline", async () => {
  const { sandbox, container } = await withExec();
  const gate = deferred<void>();
  sandbox.agent.faults.set("createExec", gate.promise);
  const started = outcome(container.start("e1", forever));
  const caller = Deadline.none();
  const deleted = outcome(container.deleteExec("e1", caller));
  caller.cancel();
  assert.equal(await deleted, "Canceled");
  gate.resolve();
  assert.equal(await started, "OK");
  assert.equal(container.status("e1").state, "running");
});

test("an exec that is being deleted cannot be started", async () => {
  const { container, calls } = await withExec();
  const outcomes = await Promise.all([
    outcome(container.deleteExec("e1", forever)),
    outcome(container.start("e1", forever)),
    outcome(container.deleteExec("e1", forever)),
  ]);
  assert.deepEqual(outcomes, ["OK", "FailedPrecondition", "NotFound"]);
  assert.deepEqual(calls(), []);
});

/** The calls, about one of two containers and one exec of it. */
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
  /** After how many turns of the event loop its client disconnects; most wait. */
  patience: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, fc.nat(8)),
  /** Turns of the event loop before the next call. */
  pause: fc.nat(3),
});
/** How guest and host carry out each step, in turn: after how many turns of the event loop, and whether it fails. */
const faultArbitrary = fc.record({ turns: fc.nat(4), fails: fc.constantFrom(false, false, false, true) });
type Fault = { turns: number; fails: boolean };

type Call = { call: (typeof CALLS)[number]; id: string };

/** A container with a volume, a disk and an assigned device: of a CRI pod, or the single one of its pod. */
function wanted(id: string, kind: "container" | "single") {
  const { spec, ...rest } = request(id, "container");
  const device = { path: "/dev/disk", type: "b", major: 8, minor: id === "c1" ? 1 : 2 };
  const extended = {
    ...spec,
    annotations: kind === "single" ? {} : spec.annotations,
    mounts: [{ destination: "/volume", type: "bind", source: "/volume", options: ["rbind"] }],
    linux: {
      devices: [device, { path: `/dev/vfio/${id.at(-1)}`, type: "c", major: 243, minor: device.minor }],
    },
  };
  return { ...rest, spec: extended };
}

const onHost = ({ shared, disks, groups }: FakeSandbox) => [...shared, ...disks, ...groups];

async function perform(
  pod: Pod,
  { call, id }: Call,
  kind: "container" | "single",
  by: Deadline,
): Promise<unknown> {
  if (call === "create") return await create(pod, wanted(id, kind), by);
  if (call === "delete") return await pod.delete(id, by);
  const container = pod.container(id);
  switch (call) {
    case "start":
      return await container.start("", by);
    case "exec":
      return container.addExec("e1", {}, stdio, fakeIo());
    case "start-exec":
      return await container.start("e1", by);
    case "kill":
      return await container.signal("", KILL, by);
    case "kill-exec":
      return await container.signal("e1", KILL, by);
    case "delete-exec":
      return await container.deleteExec("e1", by);
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** The result of a call whose client may disconnect. */
async function answer(
  pod: Pod,
  call: Call & { patience?: number | undefined },
  kind: "container" | "single",
) {
  const client = Deadline.none();
  if (call.patience !== undefined)
    void turns(call.patience).then(() => client.cancel("the client disconnected"));
  return await outcome(perform(pod, call, kind, client));
}

/** Delays and failures of guest and host in every step that does not end processes, until `off`. */
class Faults {
  off = false;
  #next = 0;

  constructor(readonly faults: readonly Fault[]) {}

  /** Adds faults to steps of `target`; those with a deadline keep to it. */
  inject<K extends string>(
    target: { [name in K]: (...args: never[]) => Promise<unknown> },
    ...names: K[]
  ): void {
    for (const name of names) {
      const step = target[name].bind(target) as (...args: unknown[]) => Promise<unknown>;
      const changed = async (...args: unknown[]) => {
        const by = args.find((one) => one instanceof Deadline) ?? forever;
        await by.race(this.#pass(name));
        return await step(...args);
      };
      Object.assign(target, { [name]: changed });
    }
  }

  async #pass(name: string): Promise<void> {
    const fault = this.faults[this.#next++ % this.faults.length];
    if (!fault || this.off) return;
    await turns(fault.turns);
    if (fault.fails) throw new HullError("DeadlineExceeded", `${name}: injected fault`);
  }
}

function injectFaults(sandbox: FakeSandbox, faults: Faults): void {
  faults.inject(sandbox.agent, "createContainer", "createExec", "start", "delete", "openStream");
  const { share, plugDisk, capacity } = sandbox;
  faults.inject(capacity, "admit");
  const add = share.add.bind(share);
  share.add = async (...args) => {
    const shared = await add(...args);
    faults.inject(shared, "bind", "release");
    return shared;
  };
  faults.inject(share, "add");
  sandbox.plugDisk = async (disk) => {
    const plugged = await plugDisk.call(sandbox, disk);
    faults.inject(plugged, "unplug");
    return plugged;
  };
  faults.inject(sandbox, "plugDisk");
}

/** Asserts that the events of each container with this id are in order. */
function checkEvents(events: readonly PodEvent[], id: string): void {
  const kinds = events.filter((event) => event.containerId === id && !("execId" in event && event.execId));
  const lives = kinds.map(({ kind }) => kind).join(" ");
  assert.match(lives, /^((create)( start)?( exit)?( delete)?( |$))*$/);
}

test("concurrent calls with failures in guest and host are all answered, and leave nothing", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("container", "container", "single"),
      fc.array(callArbitrary, { maxLength: 30 }),
      fc.array(faultArbitrary, { minLength: 1, maxLength: 20 }),
      async (kind, calls, injected) => {
        const { sandbox, pod, events } = podWith(new FakeSandbox());
        if (kind === "container") await create(pod, request("p1", "sandbox"));
        const faults = new Faults(injected);
        injectFaults(sandbox, faults);
        const answers: Promise<string>[] = [];
        for (const call of calls) {
          answers.push(answer(pod, call, kind));
          await turns(call.pause);
        }
        const codes = await Promise.all(answers);
        assert.ok(!codes.includes("Internal") && !codes.includes("Unknown"), codes.join(" "));
        faults.off = true;
        await turns(20); // attempts that began with faults
        for (const id of ["c1", "c2"]) {
          const container = pod.containers.find((one) => one.id === id);
          await container?.signal("", KILL, forever).catch(() => undefined); // it may have ended
          await container?.init.exited;
          assert.match(await outcome(pod.delete(id, forever)), /^(OK|NotFound)$/);
        }
        const inGuest = kind === "container" ? sandbox.agent.processes : []; // the VM of a single one is gone
        assert.deepEqual([onHost(sandbox), inGuest], [[], []]);
        if (kind === "container")
          for (const id of ["c1", "c2"]) assert.equal(await outcome(create(pod, wanted(id, kind))), "OK");
        await pod.dispose();
        assert.deepEqual(onHost(sandbox), []);
        for (const id of ["c1", "c2"]) checkEvents(events, id);
      },
    ),
    { numRuns: RUNS, includeErrorInReport: true },
  );
});
