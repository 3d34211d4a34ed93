import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmSpec } from "../hypervisor.ts";
import { FreePorts, portArguments } from "./ports.ts";

const MIB = 2 ** 20;
const SMALL = { memory: MIB / 4, prefetchable: 0 };
const GPU = { memory: 17 * MIB, prefetchable: 8192 * MIB + 32 * MIB };
const spec = { name: "ns/p1", machine: "q35" } as VmSpec;
const sized: VmSpec = { ...spec, assignable: { count: 1, windows: GPU } };

test("ports for assigned devices reserve powers of two with room for all BARs", () => {
  assert.deepEqual(portArguments(sized).slice(-2), [
    "-device",
    `pcie-root-port,id=assigned0,chassis=1,slot=1,mem-reserve=${32 * MIB},pref64-reserve=${16384 * MIB}`,
  ]);
});

test("ports whose windows the firmware could not map are refused before it hangs", () => {
  const windows = { memory: 200 * MIB, prefetchable: 0 };
  assert.equal(portArguments({ ...spec, assignable: { count: 3, windows } }).length, 2 * 4);
  assert.throws(() => portArguments({ ...spec, assignable: { count: 4, windows } }), {
    code: "FailedPrecondition",
    message: /4 ports with 256 MiB of 32-bit address space each exceed the machine's 940 MiB; reserve fewer/,
  });
});

test("an assigned device takes a root port first; a disk never does", () => {
  const ports = new FreePorts(sized);
  assert.equal(ports.take(SMALL).id, "assigned0");
  assert.equal(ports.take(SMALL).id, "hotplug0");
  for (let index = 1; index < 31; index++) assert.equal(ports.take().id, `hotplug${index}`);
  assert.throws(() => ports.take(), { code: "ResourceExhausted", message: /all 31 hotplug ports/ });
  assert.throws(() => ports.take(SMALL), { code: "ResourceExhausted", message: /all 32 hotplug ports/ });
});

test("a device with large BARs takes only a port with room; if the VM has none, the error names the setting", () => {
  assert.throws(() => new FreePorts(spec).take(GPU), {
    code: "FailedPrecondition",
    message: /BARs \(17 MiB, and 8224 MiB prefetchable\); set hypervisor\.pcie_root_port/,
  });
  const ports = new FreePorts(sized);
  const port = ports.take(GPU);
  assert.throws(() => ports.take(GPU), { code: "ResourceExhausted", message: /all 1 hotplug ports/ });
  ports.give(port);
  assert.equal(ports.take(GPU).id, "assigned0");
});
