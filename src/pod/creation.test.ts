/** Creations that are cancelled, and creations that race. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, FakeSandbox, fakeIo } from "../../test/testkit/fake-sandbox.ts";
import { within } from "../../test/testkit/within.ts";
import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError } from "../core/errors.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { Pod } from "./pod.ts";
import type { PodEvent } from "./pod-event.ts";

const forever = Deadline.none();
const inPod = (kind: "sandbox" | "container") => ({
  "io.kubernetes.cri.container-type": kind,
  "io.kubernetes.cri.sandbox-id": "p1",
});

function setUp(boot?: (sandbox: FakeSandbox, deadline: Deadline) => Promise<Sandbox>) {
  const sandbox = new FakeSandbox();
  const events: PodEvent[] = [];
  let emptied = 0;
  const pod = new Pod({
    id: "p1",
    boot: async (_, deadline) => (boot ? await boot(sandbox, deadline) : sandbox),
    publish: (event) => events.push(event),
    log: () => undefined,
    emptied: () => void emptied++,
  });
  return { sandbox, pod, events, emptied: () => emptied };
}

function request(id: string, annotations: Record<string, string> = {}) {
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" }, annotations };
  return { id, bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() };
}

const code = (error: unknown) => HullError.from(error).code;
const outcome = (promise: Promise<unknown>) => promise.then(() => "OK", code);

/** A boot that runs until it is cancelled and is undone when `undone` resolves. */
function bootUntilCanceled(undone: Promise<void>) {
  const booting = deferred<void>();
  const canceled = deferred<void>();
  const boot = async (_: FakeSandbox, deadline: Deadline): Promise<Sandbox> => {
    booting.resolve();
    await deadline.race(new Promise(() => undefined)).catch(() => undefined);
    canceled.resolve();
    await undone;
    throw deadline.reason as HullError;
  };
  return { boot, booting: booting.promise, canceled: canceled.promise };
}

test("Delete of a container that is being created cancels the creation and answers NotFound when it is undone", async () => {
  const undone = deferred<void>();
  const { boot, booting, canceled } = bootUntilCanceled(undone.promise);
  const { pod, emptied } = setUp(boot);
  const wanted = request("p1");
  const created = outcome(create(pod, wanted));
  await booting;
  const steps: string[] = [];
  const deleted = outcome(pod.delete("p1", forever)).then((answer) => void steps.push(`Delete: ${answer}`));
  await canceled;
  await new Promise(setImmediate);
  steps.push("undone");
  undone.resolve();
  await deleted;
  assert.deepEqual(steps, ["undone", "Delete: NotFound"]);
  assert.equal(await created, "Canceled");
  assert.ok(wanted.io.closed);
  assert.ok(pod.empty);
  assert.equal(pod.state, "stopped");
  assert.equal(emptied(), 1);
});

test("a creation that loses its VM fails with the reason of the loss, not with Canceled", async () => {
  const { pod, sandbox } = setUp();
  const agent: GuestAgent = sandbox.agent;
  agent.createContainer = (_, deadline) => deadline.race(new Promise(() => undefined));
  const created = assert.rejects(create(pod, request("p1")), (error) => {
    assert.match(String(error), /virtiofsd was killed/);
    return code(error) === "Unavailable";
  });
  await new Promise(setImmediate);
  sandbox.lose("virtiofsd was killed by SIGKILL");
  await created;
  assert.equal(pod.state, "stopped");
});

test("Delete waits for a creation to be undone until its deadline", async () => {
  const undone = deferred<void>();
  const { boot, booting, canceled } = bootUntilCanceled(undone.promise);
  const { pod } = setUp(boot);
  const created = outcome(create(pod, request("p1")));
  await booting;
  const caller = Deadline.none();
  const deleted = outcome(pod.delete("p1", caller));
  await canceled;
  caller.cancel();
  assert.equal(await deleted, "Canceled");
  undone.resolve();
  assert.equal(await created, "Canceled");
  assert.equal(await outcome(pod.delete("p1", forever)), "NotFound");
});

test("Delete does not wait for streams that never open; those that open later are closed", async () => {
  const { pod } = setUp();
  const opening = deferred<void>();
  const { id, ...wanted } = request("p1");
  const creating = outcome(pod.create(id, () => opening.promise.then(() => wanted), forever));
  assert.equal(await outcome(within(60_000).race(pod.delete(id, forever))), "NotFound");
  assert.equal(await creating, "Canceled");
  assert.ok(pod.empty);
  opening.resolve();
  await until(() => wanted.io.closed);
});

test("Delete finds a creation whose streams are still being opened", async () => {
  const { pod, sandbox, events } = setUp();
  await create(pod, request("p1", inPod("sandbox")));
  const opening = deferred<void>();
  const { id, ...wanted } = request("c1", inPod("container"));
  const creating = pod.create(
    id,
    async () => {
      await opening.promise;
      return wanted;
    },
    forever,
  );
  const created = outcome(creating);
  const deleted = outcome(pod.delete("c1", forever));
  opening.resolve();
  assert.equal(await deleted, "NotFound");
  assert.equal(await created, "Canceled");
  assert.ok(wanted.io.closed);
  assert.equal(sandbox.shared.size, 0);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["create"],
  );
});

test("Delete of a pod's container that is being created undoes it; the pod keeps running", async () => {
  const { pod, sandbox } = setUp();
  await create(pod, request("p1", inPod("sandbox")));
  const gate = deferred<void>();
  sandbox.agent.faults.set("createContainer", gate.promise);
  const created = outcome(create(pod, request("c1", inPod("container"))));
  await until(() => sandbox.agent.calls.includes("createContainer c1"));
  const deleted = outcome(pod.delete("c1", forever));
  gate.resolve();
  assert.equal(await deleted, "NotFound");
  assert.equal(await created, "Canceled");
  assert.equal(sandbox.shared.size, 0);
  assert.ok(sandbox.agent.calls.includes("delete c1/"));
  assert.equal(pod.state, "running");
  sandbox.agent.faults.clear();
  await create(pod, request("c1", inPod("container")));
});

test("stopping a pod cancels the boot of a sandbox that has no container", async () => {
  const { boot } = bootUntilCanceled(Promise.resolve());
  const { pod } = setUp(boot);
  const limits = { annotations: {}, memoryMib: undefined, vcpus: undefined } as never;
  const settings = { hostname: "", netns: undefined, sysctls: {}, limits, annotations: {} };
  const started = outcome(pod.start(settings, forever));
  await pod.stop();
  assert.equal(await started, "Canceled");
  assert.equal(pod.state, "stopped");
});

test("of two Creates of one id the second is refused, and the first's container stays", async () => {
  const { pod, sandbox } = setUp();
  const [first, second] = [request("p1"), request("p1")];
  const outcomes = await Promise.all([outcome(create(pod, first)), outcome(create(pod, second))]);
  assert.deepEqual(outcomes, ["OK", "AlreadyExists"]);
  assert.equal(pod.container("p1").init.machine.state, "created");
  assert.equal(sandbox.stops, 0);
});

test("of two Creates of single containers the second is refused, and the first's VM stays", async () => {
  const { pod, sandbox } = setUp();
  const [first, second] = [request("p1"), request("p2")];
  const outcomes = await Promise.all([outcome(create(pod, first)), outcome(create(pod, second))]);
  assert.deepEqual(outcomes, ["OK", "AlreadyExists"]);
  assert.deepEqual(
    pod.containers.map(({ id }) => id),
    ["p1"],
  );
  assert.ok(second.io.closed);
  assert.equal(sandbox.stops, 0);
});

test("of two Deletes of one container one gets the exit, the other NotFound", async () => {
  const { pod } = setUp();
  await create(pod, request("p1"));
  const outcomes = await Promise.all([
    outcome(pod.delete("p1", forever)),
    outcome(pod.delete("p1", forever)),
  ]);
  assert.deepEqual(outcomes, ["OK", "NotFound"]);
});

test("what a failed creation cannot undo is reported after its cause, and undone by the next call with its id", async () => {
  const { pod, sandbox } = setUp();
  await create(pod, request("p1", inPod("sandbox")));
  const disk = { type: "ext4", source: "/dev/vda", target: "", options: [] };
  const wanted = { ...request("c1", inPod("container")), rootfs: [disk] };
  const unplugs = [new Error("the disk is busy"), new Error("still busy"), undefined];
  sandbox.plugDisk = async () => ({
    serial: "s",
    unplug: async () => {
      const failure = unplugs.shift();
      if (failure) throw failure;
    },
  });
  sandbox.agent.faults.set("createContainer", new HullError("NotFound", "no such program"));
  await assert.rejects(create(pod, wanted), {
    code: "NotFound",
    message: "create container c1: no such program; undoing it failed: the disk is busy",
  });
  await assert.rejects(pod.delete("c1", forever), /release what its creation left behind: still busy/);
  await assert.rejects(pod.delete("c1", forever), { code: "NotFound" });
  assert.deepEqual(unplugs, []);
});

test("a VFIO group is assigned for the container, and its devices are the agent's, by their path", async () => {
  const { sandbox, pod } = setUp();
  await create(pod, request("p1", inPod("sandbox")));
  const { spec, ...rest } = request("c1", inPod("container"));
  const tun = { path: "/dev/net/tun", type: "c", major: 10, minor: 200 };
  const devices = [{ path: "/dev/vfio/12", type: "c", major: 243, minor: 0 }, tun];
  await create(pod, { ...rest, spec: { ...spec, linux: { devices } } });
  assert.deepEqual([...sandbox.groups], ["/dev/vfio/12"]);
  const created = sandbox.agent.created.get("c1");
  assert.deepEqual(created?.pciDevices, ["05.0/00.0"]);
  assert.deepEqual(created?.ownDevices, [{ path: "/dev/net/tun", name: "net/tun" }]);
  assert.equal(created?.moduleDirectory, "/run/hull/shared/c1/hull/guest/modules");
  assert.deepEqual((created?.spec as OciSpec | undefined)?.linux?.devices, []);
  await pod.delete("c1", forever);
  assert.equal(sandbox.groups.size, 0);
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}
