import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeQmp, ok, type QmpStep } from "../../../test/testkit/fake-qmp.ts";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import type { VmSpec } from "../hypervisor.ts";
import { CpuMemoryHotplug } from "./cpu-memory-hotplug.ts";
import { QmpClient } from "./qmp-client.ts";

const MIB = 2 ** 20;
const soon = () => within(30_000);
const ost = (device: string, status = 0) => ({
  event: "ACPI_DEVICE_OST",
  data: { info: { device, source: 1, status, slot: "0", "slot-type": "DIMM" } },
});
const failure = (desc: string) => ({ error: { class: "GenericError", desc }, id: "$id" });
const slot = (core: number) => ({
  type: "max-x86_64-cpu",
  props: { "socket-id": 0, "core-id": core },
  "vcpus-count": 1,
});

async function setUp(steps: readonly QmpStep[], spec: Pick<VmSpec, "growth" | "memory"> = {}) {
  const fake = new FakeQmp(steps);
  const client = await QmpClient.connect(fake.client, soon());
  const growth = { maxVcpus: 3, maxMemoryMib: 1024, memorySlots: 2 };
  const end: { now: (exit: { reason: string }) => void } = { now: () => undefined };
  const ended = new Promise<{ reason: string }>((resolve) => {
    end.now = resolve;
  });
  const sent = () => fake.received.slice(1).map(({ execute, arguments: args }) => [execute, args]);
  return { fake, sent, end, growth: new CpuMemoryHotplug(client, { growth, ...spec }, ended) };
}

test("memory is a shared object in a slot, and counts as added when the guest has acknowledged it", async () => {
  const memory = { hugePages: true, preallocate: true };
  const steps = [
    { command: "object-add", answers: [ok()] },
    { command: "device_add", answers: [ok(), ost("other"), ost("dimm0")] },
  ];
  const { growth, sent, fake } = await setUp(steps, { memory });
  await growth.addMemory(256, soon());
  const object = { "qom-type": "memory-backend-memfd", id: "dimm0-memory", size: 256 * MIB, share: true };
  assert.deepEqual(sent(), [
    ["object-add", { ...object, hugetlb: true, prealloc: true }],
    ["device_add", { driver: "pc-dimm", memdev: "dimm0-memory", id: "dimm0" }],
  ]);
  assert.deepEqual(fake.problems, []);
});

test("a vCPU goes to the first free slot", async () => {
  const slots = [slot(2), slot(1), { ...slot(0), "qom-path": "/machine/unattached/device[0]" }];
  const query = { command: "query-hotpluggable-cpus", answers: [ok(slots)] };
  const full = slots.map((one) => ({ ...one, "qom-path": "/somewhere" }));
  const { growth, sent } = await setUp([
    query,
    { command: "device_add", answers: [ost("vcpu0"), ok()] }, // the guest may be faster than the reply
    { command: "query-hotpluggable-cpus", answers: [ok(full)] },
  ]);
  await growth.addVcpu(soon());
  assert.deepEqual(sent()[1], [
    "device_add",
    { driver: "max-x86_64-cpu", id: "vcpu0", "socket-id": 0, "core-id": 1 },
  ]);
  await assert.rejects(growth.addVcpu(soon()), { code: "FailedPrecondition", message: /all of its 3 vCPUs/ });
});

test("memory that QEMU refuses is freed with its slot; memory that the guest refuses keeps both", async () => {
  const { growth, fake } = await setUp([
    { command: "object-add", answers: [ok()] },
    { command: "device_add", answers: [failure("a used vhost backend has no free memory slots left")] },
    { command: "object-del", answers: [ok()] },
    { command: "object-add", answers: [ok()] },
    { command: "device_add", answers: [ok(), ost("dimm1", 1)] },
    { command: "object-del", answers: [failure("object 'dimm1-memory' is in use, can not be deleted")] },
    { command: "object-add", answers: [ok()] },
    { command: "device_add", answers: [ok(), ost("dimm2")] },
  ]);
  await assert.rejects(growth.addMemory(128, soon()), { message: /no free memory slots left/ });
  await assert.rejects(growth.addMemory(128, soon()), { message: /kernel refused it \(ACPI status 1\)/ });
  await growth.addMemory(128, soon());
  await assert.rejects(growth.addMemory(128, soon()), {
    code: "ResourceExhausted",
    message: /all 2 memory slots are in use; raise hypervisor\.memory_slots/,
  });
  assert.deepEqual(fake.problems, []);
});

test("a VM that ends meanwhile, an unresponsive guest, and a fixed size are reported", async () => {
  const plug = [
    { command: "object-add", answers: [ok()] },
    { command: "device_add", answers: [ok()] },
    { command: "object-del", answers: [failure("in use")] },
  ];
  const ending = await setUp(plug);
  const growing = ending.growth.addMemory(128, soon());
  ending.end.now({ reason: "qemu was killed by SIGKILL" });
  await assert.rejects(growing, { code: "Unavailable", message: /killed by SIGKILL/ });
  const unresponsive = await setUp(plug);
  const brief = Deadline.after(200, "the test");
  await assert.rejects(unresponsive.growth.addMemory(128, brief), { code: "DeadlineExceeded" });
  const fixed = await setUp([], { growth: undefined });
  for (const grow of [() => fixed.growth.addVcpu(soon()), () => fixed.growth.addMemory(128, soon())])
    await assert.rejects(grow(), { code: "FailedPrecondition", message: /fixed size/ });
});
