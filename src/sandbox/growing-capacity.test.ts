import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAgent } from "../../test/testkit/fake-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { failedPrecondition } from "../core/errors.ts";
import type { OciResources } from "../oci/spec.ts";
import type { SizingRule } from "../resources/sizing.ts";
import { GrowingCapacity } from "./growing-capacity.ts";

const MIB = 2 ** 20;
const forever = Deadline.none();
const rule: SizingRule = {
  ...{ defaultVcpus: 1, maxVcpus: 4 },
  ...{ defaultMemory: 256, minMemory: 128, maxMemory: 4096, guestOverhead: 96, hostOverhead: 64 },
};

const limits = (mib: number, cpus: number): OciResources => ({
  memory: { limit: mib * MIB },
  cpu: { quota: cpus * 100_000, period: 100_000 },
});

/** A capacity of 1 CPU and 256 MiB; `faults` run in addition to a step, by the step's line in `calls`. */
function setUp(cgroup?: number) {
  const agent = new FakeAgent();
  const { calls } = agent;
  const faults = new Map<string, () => Promise<unknown>>();
  const step = async (line: string) => {
    calls.push(line);
    await faults.get(line)?.();
  };
  const room = { mib: cgroup };
  const capacity = new GrowingCapacity(
    { vcpus: 1, memoryMib: 256 },
    {
      vm: { addVcpu: () => step("addVcpu"), addMemory: (mib) => step(`addMemory ${mib}`) },
      ...{ agent, rule, log: () => undefined },
      memoryLimitMib: async () => room.mib,
    },
  );
  return { capacity, agent, calls, faults, room };
}

test("a container that fits changes nothing; else memory, then CPUs, are added before", async () => {
  const { capacity, calls } = setUp();
  await capacity.admit("a", {}, forever);
  assert.deepEqual(calls, []);
  await capacity.admit("b", limits(256, 1.5), forever);
  assert.deepEqual(calls, [
    "addMemory 256",
    "onlineResources 1 512",
    "addVcpu",
    "addVcpu",
    "onlineResources 3 512",
  ]);
  assert.deepEqual(capacity.size, { vcpus: 3, memoryMib: 512 });
});

test("an update changes only what it names; the next container reuses what another leaves", async () => {
  const { capacity, calls } = setUp();
  await capacity.admit("a", limits(160, 1), forever);
  await capacity.change("a", { cpu: { quota: 200_000 } }, forever);
  await capacity.change("a", { memory: { limit: 288 * MIB } }, forever);
  assert.deepEqual(capacity.size, { vcpus: 2, memoryMib: 384 });
  calls.length = 0;
  capacity.forget("a");
  await capacity.admit("b", limits(288, 2), forever);
  await capacity.change("b", { memory: { limit: 10 * MIB }, cpu: { quota: -1 } }, forever);
  await capacity.change("b", { memory: { limit: -1 } }, forever);
  assert.deepEqual(calls, []);
  assert.deepEqual(capacity.size, { vcpus: 2, memoryMib: 384 });
});

test("an update of a pause container claims nothing", async () => {
  const { capacity, calls } = setUp();
  await capacity.change("pause", limits(4000, 4), forever);
  assert.deepEqual(calls, []);
});

test("a limit that cannot be met is refused before anything changes, and does not count", async () => {
  const { capacity, calls, room } = setUp(600);
  await capacity.admit("a", limits(100, 1), forever);
  await assert.rejects(capacity.admit("b", limits(5000, 1), forever), {
    code: "FailedPrecondition",
    message: /^a memory limit of 5000 MiB is more than its VM has \(256 MiB\) or can grow to \(4096 MiB\)/,
  });
  await assert.rejects(capacity.admit("b", limits(400, 3), forever), { message: /cgroup.*600 MiB/ });
  await assert.rejects(capacity.change("a", { memory: { limit: 500 * MIB } }, forever), {
    code: "FailedPrecondition",
    message: /^update container a: .*cgroup.*600 MiB/,
  });
  assert.deepEqual(calls, []);
  room.mib = 700; // who resizes a pod raises its cgroup first
  await capacity.change("a", { memory: { limit: 500 * MIB } }, forever);
  assert.deepEqual(capacity.size, { vcpus: 1, memoryMib: 512 });
});

test("after a failed hot-plug the VM keeps what it has; the next container gets the rest", async () => {
  const { capacity, calls, faults } = setUp();
  faults.set("addVcpu", () => Promise.reject(failedPrecondition("the guest refused it")));
  await assert.rejects(capacity.admit("a", limits(160 + 256, 2), forever), { message: /refused it/ });
  assert.deepEqual(capacity.size, { vcpus: 1, memoryMib: 512 });
  await capacity.admit("b", limits(160 + 256, 1), forever); // the first one does not count
  faults.delete("addVcpu");
  calls.length = 0;
  await capacity.change("b", { cpu: { quota: 200_000 } }, forever);
  assert.deepEqual(calls, ["addVcpu", "onlineResources 2 512"]);
});

test("resources that the guest did not bring online are retried, not hot-plugged again", async () => {
  const { capacity, agent, calls } = setUp();
  agent.faults.set("onlineResources", failedPrecondition("the guest has 256 of 512 MiB of memory"));
  await assert.rejects(capacity.admit("a", limits(400, 1), forever), { message: /256 of 512/ });
  assert.deepEqual(capacity.size, { vcpus: 1, memoryMib: 256 });
  await capacity.admit("b", {}, forever); // it needs no more than the guest has
  agent.faults.clear();
  calls.length = 0;
  await capacity.admit("c", limits(200, 1), forever);
  assert.deepEqual(calls, ["addVcpu", "onlineResources 2 512"]);
});

test("a caller's timeout does not stop the VM from growing, and its container is not counted", async () => {
  const { capacity, calls, faults } = setUp();
  const [begun, gate] = [deferred<void>(), deferred<void>()];
  faults.set("addMemory 256", () => {
    begun.resolve();
    return gate.promise;
  });
  const impatient = Deadline.none();
  const first = capacity.admit("a", limits(400, 1), impatient);
  await begun.promise;
  impatient.cancel("nobody waits");
  await assert.rejects(first, { code: "Canceled" });
  capacity.forget("a");
  const second = capacity.admit("b", limits(160, 1), forever);
  gate.resolve();
  await second;
  assert.deepEqual(calls, ["addMemory 256", "onlineResources 1 512"]);
  assert.deepEqual(capacity.size, { vcpus: 1, memoryMib: 512 });
});
