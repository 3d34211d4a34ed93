import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, invalidArgument, unavailable } from "../core/errors.ts";
import { sandboxRequest } from "../oci/sandbox-request.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container } from "./container.ts";
import { type CreateRequest, Pod } from "./pod.ts";
import type { PodEvent } from "./pod-event.ts";

const forever = Deadline.none();

function setUp(boot: (sandbox: FakeSandbox) => Promise<Sandbox> = async (sandbox) => sandbox) {
  const sandbox = new FakeSandbox();
  const events: PodEvent[] = [];
  const pod = new Pod({
    id: "p1",
    boot: () => boot(sandbox),
    publish: (event) => events.push(event),
    log: () => undefined,
  });
  const kinds = () =>
    events.map((event) => ("execId" in event && event.execId ? `${event.kind} ${event.execId}` : event.kind));
  return { sandbox, events, pod, kinds };
}

function request(
  id: string,
  annotations?: Record<string, string>,
): CreateRequest & { id: string; io: ReturnType<typeof fakeIo> } {
  const spec: OciSpec = {
    process: { args: ["true"] },
    root: { path: "rootfs" },
    ...(annotations && { annotations }),
  };
  const stdio = { stdin: "", stdout: "/out", stderr: "/err", terminal: false };
  return { id, bundle: `/bundles/${id}`, spec, rootfs: [], stdio, io: fakeIo() };
}

const asSandbox = { "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "p1" };
const inSandbox = { "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "p1" };

const withCode =
  (code: string, text: RegExp = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof HullError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };

test("a single container's life: create, start, exit, delete, in this order of events; the VM ends with it", async () => {
  const { pod, sandbox, kinds, events } = setUp();
  const container = await create(pod, request("p1"));
  assert.equal(container.status("").state, "created");
  await container.start("", forever);
  assert.equal(container.status("").state, "running");
  sandbox.agent.end({ containerId: "p1", execId: "" }, 3);
  const exit = await container.process("").exited;
  assert.equal(exit.status, 3);
  const status = container.status("");
  assert.deepEqual([status.state, status.exit], ["stopped", exit]);
  assert.deepEqual(await pod.delete("p1", forever), exit);
  assert.deepEqual(kinds(), ["create", "start", "exit", "delete"]);
  assert.deepEqual(events.at(-1), { kind: "delete", containerId: "p1", execId: "", pid: 4242, exit });
  assert.equal(sandbox.shared.size, 0);
  assert.equal(sandbox.stops, 1);
  assert.ok(pod.empty);
  assert.equal(pod.state, "stopped");
});

test("an exit before the start is answered is published after the start", async () => {
  const { pod, sandbox, kinds } = setUp();
  const container = await create(pod, request("p1"));
  const gate = deferred<void>();
  sandbox.agent.faults.set("start", gate.promise);
  const starting = container.start("", forever);
  sandbox.agent.end({ containerId: "p1", execId: "" }, 0);
  gate.resolve();
  await starting.catch(() => undefined); // the fake refuses to start an ended process; only the order matters
  await container.process("").exited;
  assert.ok(kinds().indexOf("exit") > kinds().indexOf("create"));
});

test("a container is created when its VM has room for it, and counts until it is deleted or its creation fails", async () => {
  const { pod, sandbox } = setUp();
  const calls: string[] = [];
  sandbox.capacity = {
    size: { vcpus: 2, memoryMib: 256 },
    admit: async (id) => {
      calls.push(`admit ${id}`);
      if (id === "large") throw new HullError("FailedPrecondition", "no room");
    },
    change: async (id) => void calls.push(`change ${id}`),
    forget: (id) => calls.push(`forget ${id}`),
    describe: () => ({}),
  };
  await create(pod, request("p1", asSandbox));
  assert.deepEqual(calls, []);
  await assert.rejects(create(pod, request("large", inSandbox)), withCode("FailedPrecondition", /no room/));
  assert.equal(sandbox.shared.size, 0);
  const container = await create(pod, request("c1", inSandbox));
  await container.update({ memory: { limit: 1 } }, forever);
  await pod.delete("c1", forever);
  assert.deepEqual(calls, ["admit large", "forget large", "admit c1", "change c1", "forget c1"]);
  assert.ok(!sandbox.agent.calls.some((call) => call.includes("large")));
  await pod.stop();
});

test("unknown ids are NotFound, known ones AlreadyExists, wrong states FailedPrecondition", async () => {
  const { pod } = setUp();
  assert.throws(() => pod.container("x"), withCode("NotFound", /container x/));
  const container = await create(pod, request("p1"));
  await assert.rejects(create(pod, request("p1")), withCode("AlreadyExists"));
  assert.throws(
    () => container.addExec("e", {}, request("p1").stdio, fakeIo()),
    withCode("FailedPrecondition", /created state/),
  );
  await container.start("", forever);
  await assert.rejects(
    container.start("", forever),
    withCode("FailedPrecondition", /cannot start container p1 in running state/),
  );
  await assert.rejects(
    pod.delete("p1", forever),
    withCode("FailedPrecondition", /cannot delete container p1 in running state/),
  );
  assert.throws(() => container.process("nope"), withCode("NotFound", /exec nope/));
  await assert.rejects(container.resume(forever), withCode("FailedPrecondition"));
});

test("waiting for an exec that was never started ends when its container is deleted", async () => {
  const { pod, sandbox } = setUp();
  await create(pod, request("p1", asSandbox));
  const container = await create(pod, request("c1", inSandbox));
  await container.start("", forever);
  container.addExec("e", {}, request("c1").stdio, fakeIo());
  const waiting = container.process("e").exited;
  sandbox.agent.end({ containerId: "c1", execId: "" }, 0);
  await container.process("").exited;
  await pod.delete("c1", forever);
  assert.equal((await within(30_000).race(waiting)).status, 0);
  await pod.stop();
});

test("a container that never started is deleted by killing it first", async () => {
  const { pod, kinds, sandbox } = setUp();
  await create(pod, request("p1"));
  const exit = await pod.delete("p1", forever);
  assert.equal(exit.status, 137);
  assert.deepEqual(kinds(), ["create", "exit", "delete"]);
  assert.equal(sandbox.stops, 1);
});

test("a failed creation leaves nothing, and the VM of a single container is stopped", async () => {
  const { pod, sandbox, kinds } = setUp();
  sandbox.agent.faults.set("createContainer", invalidArgument("no such program"));
  const wanted = request("p1");
  await assert.rejects(
    create(pod, wanted),
    withCode("InvalidArgument", /create container p1: no such program/),
  );
  assert.ok(wanted.io.closed);
  assert.deepEqual(kinds(), []);
  assert.equal(sandbox.shared.size, 0);
  assert.equal(sandbox.stops, 1);
  assert.ok(pod.empty);
  await assert.rejects(create(pod, request("p1")), withCode("FailedPrecondition", /has ended/));
});

test("a pod never leaves the stopped state", async () => {
  const { pod } = setUp();
  await pod.stop();
  const starting = pod.start(sandboxRequest(request("p1").spec, "p1"), forever);
  await assert.rejects(starting, withCode("FailedPrecondition", /cannot go from stopped to booting/));
  await assert.rejects(create(pod, request("p1")), withCode("FailedPrecondition", /has ended/));
  assert.equal(pod.state, "stopped");
});

test("a boot that fails is reported by the creation with its cause", async () => {
  const { pod } = setUp(async () => {
    throw unavailable("qemu exited with status 1");
  });
  await assert.rejects(create(pod, request("p1")), withCode("Unavailable", /qemu exited with status 1/));
  assert.equal(pod.state, "stopped");
});

test("a pod's containers start and exit independently; the pause container never reaches the guest", async () => {
  const { pod, sandbox, kinds } = setUp();
  const pause = await create(pod, request("p1", asSandbox));
  await pause.start("", forever);
  const first = await create(pod, request("c1", inSandbox));
  const second = await create(pod, request("c2", inSandbox));
  await first.start("", forever);
  await second.start("", forever);
  sandbox.agent.end({ containerId: "c1", execId: "" }, 1);
  assert.equal((await first.init.exited).status, 1);
  await pod.delete("c1", forever);
  assert.equal(second.status("").state, "running");
  assert.equal(pod.state, "running");
  assert.ok(!sandbox.agent.calls.some((call) => call.includes("p1")));
  await pause.signal("", { signal: 9, all: false, escalation: "never" }, forever);
  assert.equal((await pause.init.exited).status, 137);
  assert.equal(second.status("").state, "running");
  assert.equal(kinds().filter((kind) => kind === "exit").length, 2);
});

test("a container of a pod that is not running is refused", async () => {
  const { pod } = setUp();
  await assert.rejects(
    create(pod, request("c1", inSandbox)),
    withCode("FailedPrecondition", /pod p1 is not running/),
  );
});

test("exec: added, started, ended, deleted; its exit comes before the container's", async () => {
  const { pod, sandbox, kinds } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  container.addExec("e1", { args: ["a"] }, request("p1").stdio, fakeIo());
  assert.deepEqual([container.status("e1").state, container.status("e1").pid], ["created", 0]);
  assert.throws(() => container.addExec("e1", {}, request("p1").stdio, fakeIo()), withCode("AlreadyExists"));
  await assert.rejects(
    container.signal("e1", { signal: 15, all: false, escalation: "never" }, forever),
    withCode("FailedPrecondition"),
  );
  await container.start("e1", forever);
  container.addExec("e2", { args: ["b"] }, request("p1").stdio, fakeIo());
  assert.equal((await container.deleteExec("e2", forever)).status, 0);
  sandbox.agent.end({ containerId: "p1", execId: "" }, 0);
  await container.init.exited;
  assert.equal((await container.process("e1").exited).status, 137);
  await container.deleteExec("e1", forever);
  assert.deepEqual(kinds(), [
    "create",
    "start",
    "exec-added e1",
    "exec-started e1",
    "exec-added e2",
    "exit e1",
    "exit",
  ]);
});

test("an exec whose program is missing fails at its start and can be deleted; the container keeps running", async () => {
  const { pod, sandbox } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  container.addExec("e1", { args: ["nope"] }, request("p1").stdio, fakeIo());
  sandbox.agent.faults.set("createExec", invalidArgument('exec: "nope": not found'));
  await assert.rejects(container.start("e1", forever), withCode("InvalidArgument", /not found/));
  await container.deleteExec("e1", forever);
  assert.equal(container.status("").state, "running");
});

test("pause and resume: execs show it, SIGKILL works", async () => {
  const { pod, kinds } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  container.addExec("e1", {}, request("p1").stdio, fakeIo());
  await container.start("e1", forever);
  await container.pause(forever);
  assert.deepEqual([container.status("").state, container.status("e1").state], ["paused", "paused"]);
  assert.throws(
    () => container.addExec("e2", {}, request("p1").stdio, fakeIo()),
    withCode("FailedPrecondition"),
  );
  await container.resume(forever);
  assert.equal(container.status("e1").state, "running");
  await container.pause(forever);
  await container.signal("", { signal: 9, all: false, escalation: "never" }, forever);
  assert.equal((await container.init.exited).status, 137);
  assert.deepEqual(
    kinds().filter((kind) => /pause|resume/.test(kind)),
    ["paused", "resumed", "paused"],
  );
});

test("a pause that hangs delays neither Kill nor State nor the exit", async () => {
  const { pod, sandbox } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  const gate = deferred<void>();
  sandbox.agent.faults.set("pause", gate.promise);
  const pausing = container.pause(forever);
  await new Promise((done) => setImmediate(done));
  assert.equal(container.status("").state, "pausing");
  await container.signal("", { signal: 9, all: false, escalation: "never" }, forever);
  assert.equal((await container.init.exited).status, 137);
  gate.resolve();
  await assert.rejects(pausing, withCode("NotFound"));
});

/** Calls of a pod's container that can hang; `agent` is the call that the guest does not answer. */
const HANGING: readonly { agent: string; call: (pod: Pod, container: Container) => Promise<unknown> }[] = [
  { agent: "createContainer", call: (pod) => create(pod, request("other", inSandbox)) },
  { agent: "stats", call: (_, container) => container.stats(forever) },
  { agent: "pause", call: (_, container) => container.pause(forever) },
  { agent: "update", call: (_, container) => container.update({}, forever) },
  { agent: "createExec", call: (_, container) => container.start("e1", forever) },
  { agent: "openStream", call: (_, container) => container.start("e1", forever) },
  { agent: "delete", call: (_, container) => container.deleteExec("e2", forever) },
];

for (const { agent, call } of HANGING) {
  test(`Kill is answered, and the exit published, while ${agent} hangs in the guest`, async () => {
    const { pod, sandbox } = setUp();
    await create(pod, request("p1", asSandbox));
    const container = await create(pod, request("c1", inSandbox));
    await container.start("", forever);
    const { stdio } = request("c1");
    for (const id of ["e1", "e2"])
      container.addExec(id, {}, stdio, { ...fakeIo(), wants: { stdin: false, stdout: true, stderr: false } });
    await container.start("e2", forever);
    sandbox.agent.end({ containerId: "c1", execId: "e2" }, 0);
    await container.process("e2").exited;
    const gate = deferred<void>();
    sandbox.agent.faults.set(agent, gate.promise);
    const hanging = call(pod, container).catch(() => undefined); // its result does not matter here
    await new Promise((done) => setImmediate(done));
    const limit = within(30_000);
    await limit.race(container.signal("", { signal: 9, all: false, escalation: "never" }, limit));
    assert.equal((await limit.race(container.init.exited)).status, 137);
    assert.equal(container.status("").state, "stopped");
    gate.resolve();
    await hanging;
  });
}

test("a lost VM ends every process with 137 and the pod", async () => {
  const { pod, sandbox, kinds } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  sandbox.lose("qemu was killed by signal 9");
  assert.equal((await container.init.exited).status, 137);
  await assert.rejects(
    container.signal("", { signal: 9, all: false, escalation: "never" }, forever),
    withCode("NotFound"),
  );
  await pod.delete("p1", forever);
  assert.deepEqual(kinds(), ["create", "start", "exit", "delete"]);
  assert.equal(sandbox.shared.size, 0);
});

test("root file systems on disks are hot-plugged while the VM has ports, then shared; all are released again", async () => {
  const { pod, sandbox } = setUp();
  sandbox.ports = 1;
  await create(pod, request("p1", asSandbox));
  const directory = await mkdtemp(join(tmpdir(), "hull-pod-"));
  const make = async (id: string) => {
    const source = join(directory, id);
    await writeFile(source, "");
    const rootfs = [{ type: "ext4", source, target: "", options: ["loop"] }];
    await create(pod, { ...request(id, inSandbox), rootfs });
    const { rootDisk, spec } = sandbox.agent.created.get(id) ?? {};
    return { fsType: rootDisk?.fsType, path: (spec as OciSpec | undefined)?.root?.path };
  };
  try {
    assert.deepEqual(await make("a"), { fsType: "ext4", path: "/run/hull/roots/a" });
    assert.deepEqual(await make("b"), { fsType: undefined, path: "/run/hull/shared/b/rootfs" });
    assert.deepEqual([...sandbox.disks], [join(directory, "a")]);
    await pod.delete("a", forever);
    assert.equal(sandbox.disks.size, 0);
    sandbox.agent.faults.set("createContainer", invalidArgument("no such program"));
    await assert.rejects(make("c"), withCode("InvalidArgument"));
    assert.equal(sandbox.disks.size, 0);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("every OOM kill of a known container is published", async () => {
  const { pod, sandbox, kinds } = setUp();
  await create(pod, request("p1"));
  sandbox.agent.oom("p1");
  sandbox.agent.oom("p1");
  sandbox.agent.oom("unknown");
  assert.deepEqual(kinds(), ["create", "oom", "oom"]);
});

test("a guest that reports OOM kills endlessly does not crowd out other events", async () => {
  const { pod, sandbox, kinds } = setUp();
  await create(pod, request("p1"));
  for (let kill = 0; kill < 100_000; kill++) sandbox.agent.oom("p1");
  sandbox.agent.end({ containerId: "p1", execId: "" }, 137, true);
  await pod.container("p1").init.exited;
  const ooms = kinds().filter((kind) => kind === "oom").length;
  assert.ok(ooms >= 1 && ooms < 1_000, `${ooms} events`);
  assert.equal(kinds().at(-1), "exit");
});

test("dispose releases running containers", async () => {
  const { pod, sandbox } = setUp();
  const first = request("p1");
  const container = await create(pod, first);
  await container.start("", forever);
  await pod.dispose();
  assert.ok(first.io.closed);
  assert.equal(sandbox.shared.size, 0);
  assert.equal((await container.init.exited).status, 137);
});

test("a killed container's last statistics outlive its VM", async () => {
  const { pod, sandbox } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  sandbox.agent.end({ containerId: "p1", execId: "" }, 137);
  await container.process("").exited;
  await pod.stop();
  sandbox.agent.faults.set("stats", unavailable("the VM is gone"));
  assert.equal(sandbox.agent.calls.filter((call) => call.startsWith("stats")).length, 1);
  assert.deepEqual(await container.stats(forever), { cgroupFiles: { "pids.current": "1\n" }, netDev: "" });
});

test("the statistics show an OOM kill even if the guest has none any more", async () => {
  const { pod, sandbox } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  sandbox.agent.faults.set("stats", unavailable("the VM is gone"));
  await assert.rejects(container.stats(forever), withCode("Unavailable"));
  sandbox.agent.end({ containerId: "p1", execId: "" }, 137, true);
  await container.process("").exited;
  const { cgroupFiles } = await container.stats(forever);
  assert.match(cgroupFiles["memory.events"] ?? "", /^oom_kill 1$/m);
});

test("reading statistics of a running container fails at the deadline if the guest does not answer", async () => {
  const { pod, sandbox } = setUp();
  const container = await create(pod, request("p1"));
  await container.start("", forever);
  sandbox.agent.faults.set("stats", deferred<void>().promise);
  await assert.rejects(container.stats(Deadline.after(50)), withCode("DeadlineExceeded"));
});

test("the state dump has creations, containers with their processes, and failed creations that were not undone", async () => {
  const { pod, sandbox } = setUp();
  assert.deepEqual(pod.describe().state, "new");
  const gate = deferred<CreateRequest>();
  const creating = pod.create("p1", () => gate.promise, within(60_000));
  const [creation] = pod.describe().creating as { id: string; leftMs: number }[];
  assert.equal(creation?.id, "p1");
  assert.ok(creation.leftMs > 0 && creation.leftMs <= 60_000);
  gate.resolve(request("p1", asSandbox));
  await creating;
  const container = await create(pod, request("c1", inSandbox));
  await container.start("", forever);
  container.addExec("e1", {}, request("e1").stdio, fakeIo());
  const hanging = deferred<void>();
  sandbox.agent.faults.set("pause", hanging.promise);
  const pausing = container.pause(forever);
  await new Promise(setImmediate);
  const state = pod.describe();
  assert.equal(state.state, "running");
  assert.deepEqual(state.sandbox, sandbox.describe());
  assert.deepEqual([state.creating, state.failedCreations], [[], []]);
  const [pause, running] = state.containers as Record<string, Record<string, unknown>>[];
  assert.deepEqual([pause?.id, pause?.pause, pause?.queue], ["p1", true, undefined]);
  assert.deepEqual([running?.id, running?.init?.state], ["c1", "pausing"]);
  assert.equal(running?.queue?.waiting, 0);
  assert.deepEqual(running?.execs, [{ id: "e1", state: "created", queue: undefined, io: {} }]);
  hanging.resolve();
  await pausing;
  sandbox.lose("it crashed");
  await pod.ended;
  await pod.stop();
  assert.match(String(pod.describe().lost), /it crashed/);
  assert.equal(pod.describe().stopping, false);
});
