import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeQmp, ok, type QmpStep } from "../../../test/testkit/fake-qmp.ts";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import type { HostProcess } from "../../host/process-launcher.ts";
import { RingBuffer } from "../../host/ring-buffer.ts";
import type { VmSpec } from "../hypervisor.ts";
import { QmpClient } from "./qmp-client.ts";
import { QemuVm } from "./vm.ts";

const DISK = { kind: "disk", path: "/disk", readOnly: false, serial: "hull-0" } as const;

async function setUp(steps: readonly QmpStep[]) {
  const fake = new FakeQmp(steps);
  const client = await QmpClient.connect(fake.client, within(30_000));
  const spec = { name: "test/p", machine: "q35" } as VmSpec;
  const vmm = { pid: 1, exited: new Promise(() => undefined) } as unknown as HostProcess;
  const vm = new QemuVm(spec, vmm, client, new RingBuffer(), { at: (path) => path });
  const sent = () =>
    fake.received.slice(1).map(({ execute, arguments: given }) => {
      const { id, bus, addr } = (given ?? {}) as { id?: string; bus?: string; addr?: string };
      return [execute, bus ?? id, addr].filter(Boolean).join(" ");
    });
  return { fake, vm, sent };
}

const deleted = { event: "DEVICE_DELETED", data: { device: "plugged0", path: "/machine" } };
const unknown = { error: { class: "DeviceNotFound", desc: "Device 'plugged0' not found" }, id: "$id" };
const refused = { error: { class: "GenericError", desc: "no" }, id: "$id" };
const backend = [
  { command: "blockdev-add", answers: [ok()] },
  { command: "device_add", answers: [] },
];

for (const [what, answers, removed] of [
  ["a device that exists after all is removed", [ok(), deleted], true],
  ["one that QEMU does not know need not be removed", [unknown], true],
  ["one that the guest does not release keeps its port and backend", [refused], false],
] as const) {
  test(`a hot-plug that is cancelled before the answer: ${what}`, async () => {
    const removal = removed ? [{ command: "blockdev-del", answers: [ok()] }] : [];
    const { fake, vm, sent } = await setUp([
      ...backend,
      { command: "device_del", answers },
      ...removal,
      { command: "blockdev-add", answers: [ok()] },
      { command: "device_add", answers: [ok()] },
    ]);
    const deadline = Deadline.none();
    const plug = vm.plug(DISK, deadline);
    const limit = within(30_000);
    while (!sent().includes("device_add hotplug 1")) {
      limit.check();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    deadline.cancel();
    await assert.rejects(plug, { code: "Canceled" });
    await vm.plug(DISK, within(30_000));
    assert.deepEqual(
      sent().filter((line) => /^(device|blockdev-del)/.test(line)),
      [
        "device_add hotplug 1",
        "device_del plugged0",
        ...(removed ? ["blockdev-del"] : []),
        "device_add hotplug 2",
      ],
    );
    assert.deepEqual(fake.problems, []);
  });
}

const NIC = { kind: "pci", address: "0000:01:00.0", windows: { memory: 0x40000, prefetchable: 0 } } as const;
const ports = (slot: unknown, id = "hotplug") => [
  {
    bus: 0,
    devices: [
      { qdev_id: "", slot: 0, function: 0 },
      { qdev_id: id, slot, function: 0 },
    ],
  },
  { bus: 7, devices: [{ qdev_id: id, slot: 1, function: 0 }] },
];

test("an assigned device is found behind its bridge, whose slot QEMU has chosen", async () => {
  const { fake, vm } = await setUp([
    { command: "device_add", answers: [ok()] },
    { command: "query-pci", answers: [ok(ports(10))] },
    { command: "device_del", answers: [ok(), deleted] },
  ]);
  const plugged = await vm.plug(NIC, within(30_000));
  assert.equal(await plugged.pciPath(within(30_000)), "0a.0/01.0");
  await plugged.unplug();
  assert.deepEqual(fake.received[1]?.arguments, {
    ...{ driver: "vfio-pci", id: "plugged0", bus: "hotplug", addr: "1", host: "0000:01:00.0" },
  });
  assert.deepEqual(fake.problems, []);
});

for (const answer of [undefined, {}, [null], ports("../.."), ports(32), ports(1, "other")]) {
  test(`an answer to query-pci without the port is refused: ${JSON.stringify(answer)?.slice(0, 80)}`, async () => {
    const { vm } = await setUp([
      { command: "device_add", answers: [ok()] },
      { command: "query-pci", answers: [ok(answer)] },
    ]);
    const plugged = await vm.plug(NIC, within(30_000));
    await assert.rejects(plugged.pciPath(within(30_000)), {
      code: "Internal",
      message: /does not list hotplug$/,
    });
  });
}
