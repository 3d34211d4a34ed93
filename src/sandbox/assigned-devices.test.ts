import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { deferred } from "../core/deferred.ts";
import { Disposer } from "../core/disposer.ts";
import { deadlineExceeded, failedPrecondition, HullError } from "../core/errors.ts";
import type { PciDevice } from "../host/pci-device.ts";
import type { HotplugDevice, VmExit } from "../hypervisor/hypervisor.ts";
import { AssignedDevices } from "./assigned-devices.ts";

const WANTED = { path: "/dev/vfio/12", major: 243, minor: 0 };
const RECORD = { kind: "vfio", path: "/dev/vfio/12", devices: ["0000:01:00.0", "0000:01:00.1"] };

/**
 * A VM and a host that note each step; `fails` names the step that fails, `hangs` the one that never ends, `late` the device
 * whose hot-plug takes effect, but after it was given up.
 */
function setUp({ fails = "", hangs = "", late = "", rootless = true } = {}) {
  const steps: string[] = [];
  const ledger = new MemoryLedger();
  const kept = new Disposer();
  const exited = deferred<VmExit>();
  const step = async (name: string) => {
    steps.push(ledger.resources.length > 0 ? name : `${name} (unrecorded)`);
    if (fails !== "" && name.startsWith(fails)) throw failedPrecondition(`${fails} failed`);
    if (hangs !== "" && name.startsWith(hangs)) await new Promise(() => undefined);
  };
  /** As the kernel and mknod(1) do: a group is opened once, and a node is made once. */
  const once = (taken: Set<string>, name: string) => {
    if (taken.has(name)) throw failedPrecondition(`${name} is taken`);
    taken.add(name);
  };
  const made = new Set<string>();
  const opened = new Set<string>();
  const vm = {
    pid: 77,
    exited: exited.promise,
    plug: async (device: HotplugDevice) => {
      const address = device.kind === "pci" ? device.address : device.kind;
      await step(`plug ${address}`);
      once(opened, address);
      if (address === late) throw deadlineExceeded("no answer");
      const unplug = async () => {
        await step(`unplug ${address}`);
        opened.delete(address);
      };
      return { unplug, pciPath: async () => `${address.at(-1)}.0/00.0` };
    },
  };
  const devices = ["0000:01:00.0", "0000:01:00.1"].map(
    (address) => ({ address, windows: { memory: 0, prefetchable: 0 } }) as PciDevice,
  );
  const nodes = {
    make: async (name: string) => {
      await step(`make ${name}`);
      once(made, name);
      return `/vm/dev/${name}`;
    },
    remove: async (name: string) => {
      made.delete(name);
      await step(`remove ${name}`);
    },
  };
  const host = {
    iommuGroup: async () => ({ number: 12, node: "/dev/vfio/12", devices }),
    requireFree: async () => {
      await step("free?");
      if (opened.size > 0) throw failedPrecondition("in use");
    },
    withNodeMounted: async <T>(device: string, node: string, run: () => Promise<T>) => {
      await step(`mount ${node} over ${device}`);
      return await run();
    },
    run: async (argv: readonly string[]) => {
      await step(argv.join(" "));
      return "";
    },
  };
  const warnings: string[] = [];
  const report = { log: () => undefined, warn: (message: string) => void warnings.push(message) };
  const context = { nodes: rootless ? nodes : undefined, maxMemoryMib: 896, ledger, kept, ...report };
  const assigned = new AssignedDevices(vm, context, host);
  return { assigned, steps, ledger, kept, warnings, end: () => exited.resolve({} as VmExit) };
}

test("a group is recorded before the VMM gets it, through the user's own node, and forgotten after its release", async () => {
  const { assigned, steps, ledger } = setUp();
  const group = await assigned.assign(WANTED, within(30_000));
  assert.deepEqual(group.pciPaths, ["0.0/00.0", "1.0/00.0"]);
  assert.deepEqual(ledger.resources, [RECORD]);
  assert.deepEqual(steps, [
    "free? (unrecorded)",
    "prlimit --pid 77 --memlock=1073741824:1073741824",
    "make vfio-12",
    "mount /vm/dev/vfio-12 over /dev/vfio/12",
    "plug 0000:01:00.0",
    "plug 0000:01:00.1",
  ]);
  steps.length = 0;
  await group.unplug();
  assert.deepEqual(steps, ["remove vfio-12", "unplug 0000:01:00.0", "unplug 0000:01:00.1"]);
  assert.deepEqual(ledger.resources, []);
});

test("a VMM that runs as root needs neither a node nor a limit", async () => {
  const { assigned, steps } = setUp({ rootless: false });
  await (await assigned.assign(WANTED, within(30_000))).unplug();
  assert.deepEqual(steps.slice(1), [
    ...["plug 0000:01:00.0", "plug 0000:01:00.1", "unplug 0000:01:00.0", "unplug 0000:01:00.1"],
  ]);
});

for (const fails of ["free?", "prlimit", "make", "mount", "plug 0000:01:00.1"]) {
  test(`nothing is left of a group whose assignment fails: ${fails}`, async () => {
    const { assigned, steps, ledger } = setUp({ fails });
    await assert.rejects(assigned.assign(WANTED, within(30_000)), (error) => {
      return (
        error instanceof HullError && error.code === "FailedPrecondition" && error.message.includes(fails)
      );
    });
    const plugged = steps.includes("plug 0000:01:00.0");
    assert.equal(steps.includes("unplug 0000:01:00.0"), plugged);
    assert.deepEqual(ledger.resources, []);
  });
}

test("what the guest does not release stays recorded until the VM ends, and does not fail the container's Delete", async () => {
  const { assigned, ledger, kept, warnings } = setUp({ fails: "unplug" });
  const group = await assigned.assign(WANTED, within(30_000));
  await group.unplug();
  assert.deepEqual(warnings, [
    "device /dev/vfio/12: unplug: unplug failed, so it stays assigned until the VM ends; delete the pod",
  ]);
  assert.deepEqual(ledger.resources, [RECORD]);
  await kept.dispose(within(30_000));
  assert.deepEqual(ledger.resources, []);
});

test("after the VM's end nothing is unplugged", async () => {
  const { assigned, steps, ledger, end } = setUp();
  const group = await assigned.assign(WANTED, within(30_000));
  end();
  await new Promise(setImmediate);
  await group.unplug();
  assert.equal(steps.at(-1), "remove vfio-12");
  assert.deepEqual(ledger.resources, []);
});

test("a group that the VMM has although its hot-plug was given up stays recorded until the VM ends", async () => {
  const { assigned, ledger, kept } = setUp({ late: "0000:01:00.1" });
  await assert.rejects(assigned.assign(WANTED, within(30_000)), { code: "DeadlineExceeded" });
  assert.deepEqual(ledger.resources, [RECORD]);
  await kept.dispose(within(30_000));
  assert.deepEqual(ledger.resources, []);
});

test("of two containers that want the same group at once, the first gets it", async () => {
  const { assigned, steps } = setUp();
  const [first, second] = await Promise.allSettled([1, 2].map(() => assigned.assign(WANTED, within(30_000))));
  assert.equal(first?.status, "fulfilled");
  assert.match(String((second as PromiseRejectedResult).reason), /in use/);
  assert.ok(!steps.includes("remove vfio-12"), "the first one's node was removed");
});

test("a device whose reset the kernel waits for does not hold a container's creation beyond its deadline", async () => {
  const { assigned, ledger } = setUp({ hangs: "free?" });
  await assert.rejects(assigned.assign(WANTED, within(50)), { code: "DeadlineExceeded" });
  assert.deepEqual(ledger.resources, []);
});
