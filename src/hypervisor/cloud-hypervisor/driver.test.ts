import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type FakeMachine, fakeMachine } from "../../../test/testkit/cloud-hypervisor-machine.ts";
import type { Script } from "../../../test/testkit/fake-cloud-hypervisor.ts";
import { Deadline } from "../../core/deadline.ts";
import type { VmSpec } from "../hypervisor.ts";
import { CloudHypervisor } from "./driver.ts";
import type { CloudHypervisorVm } from "./vm.ts";

const deadlines: Deadline[] = [];
after(() => {
  for (const deadline of deadlines) deadline.dispose(); // their timers would keep the process alive
});
const soon = (ms = 30_000) => {
  const deadline = Deadline.after(ms);
  deadlines.push(deadline);
  return deadline;
};

function machine(t: TestContext, script: Script = {}, change: Partial<VmSpec> = {}): FakeMachine {
  const fake = fakeMachine(script, change);
  t.after(() => fake.dispose());
  return fake;
}

async function boot(
  t: TestContext,
  script: Script = {},
  change: Partial<VmSpec> = {},
): Promise<{ vm: CloudHypervisorVm; fake: FakeMachine }> {
  const fake = machine(t, script, change);
  const vm = await new CloudHypervisor().boot(fake.spec, fake.context());
  t.after(() => vm.stop(soon()));
  return { vm, fake };
}

/** Checks that nothing of the VM is left on the host or in the ledger. */
function assertClean(fake: FakeMachine): void {
  assert.deepEqual(fake.ledger.resources, []);
  assert.deepEqual(readdirSync(fake.spec.directory), []);
}

test("boots with seccomp on, passes on the console, and leaves nothing behind after stop", async (t) => {
  const { vm, fake } = await boot(t);
  const argv = readFileSync(`/proc/${vm.pid}/cmdline`, "utf8").split("\0");
  assert.deepEqual(argv.slice(argv.indexOf("--api-socket")), [
    ...["--api-socket", "fd=3", "--event-monitor", "fd=4", "--seccomp", "true", ""],
  ]);
  const recorded = fake.ledger.resources.map((resource) => resource.kind).sort();
  assert.deepEqual(recorded, ["process", "socket", "socket"]);
  assert.ok(existsSync(fake.spec.vsock?.kind === "hybrid" ? fake.spec.vsock.socket : ""));
  await until(() => vm.console().includes("Linux version"));
  const info = await vm.info(soon());
  assert.equal(info.state, "Running");
  await vm.stop(soon());
  await vm.stop(soon());
  const exit = await vm.exited;
  assert.deepEqual(
    { reason: exit.reason, requested: exit.requested },
    { reason: "cloud-hypervisor exited with status 0 (the VM was stopped)", requested: true },
  );
  assert.match(exit.console, /Linux version/);
  assert.throws(() => process.kill(vm.pid, 0), { code: "ESRCH" });
  assertClean(fake);
});

test("runs in the pod's network namespace", async (t) => {
  const netns = `hull-clh-${process.pid}`;
  execFileSync("ip", ["netns", "add", netns]);
  t.after(() => execFileSync("ip", ["netns", "delete", netns]));
  execFileSync("ip", ["-n", netns, "tuntap", "add", "tap0", "mode", "tap"]);
  const nic = { kind: "nic", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 } as const;
  const { vm } = await boot(t, {}, { netns: `/run/netns/${netns}`, nics: [nic] });
  assert.notEqual(readlinkSync(`/proc/${vm.pid}/ns/net`), readlinkSync("/proc/self/ns/net"));
  assert.equal((await vm.info(soon())).state, "Running");
});

test("pauses and resumes; a repeated call changes nothing", async (t) => {
  const { vm } = await boot(t);
  await vm.resume(soon());
  await vm.pause(soon());
  await vm.pause(soon());
  assert.equal((await vm.info(soon())).state, "Paused");
  await vm.resume(soon());
  assert.equal((await vm.info(soon())).state, "Running");
});

test("hot-plugs a disk and a share, and unplugs them when the guest has released them", async (t) => {
  const { vm, fake } = await boot(t);
  const path = join(fake.directory, "disk.img");
  writeFileSync(path, Buffer.alloc(4096));
  const disk = { kind: "disk", path, readOnly: false, serial: "data" } as const;
  const pluggedDisk = await vm.plug(disk, soon());
  await assert.rejects(vm.plug(disk, soon()), {
    code: "FailedPrecondition",
    message: /disk-data is not unique/,
  });
  const socket = join(fake.directory, "fs.sock");
  const virtiofsd = createServer();
  await new Promise<void>((resolve) => virtiofsd.listen(socket, resolve));
  t.after(() => virtiofsd.close());
  const pluggedShare = await vm.plug({ kind: "share", tag: "volume", socket }, soon());
  assert.deepEqual(Object.keys((await vm.info(soon())).device_tree ?? {}).sort(), [
    ...["disk-data", "fs-volume", "vsock"],
  ]);
  await pluggedDisk.unplug();
  await pluggedShare.unplug();
  assert.deepEqual(Object.keys((await vm.info(soon())).device_tree ?? {}), ["vsock"]);
  await pluggedDisk.unplug(); // idempotent
  await vm.plug(disk, soon());
});

test("a device that does not exist on the host is refused with the VMM's reason", async (t) => {
  const { vm } = await boot(t);
  await assert.rejects(
    vm.plug({ kind: "disk", path: "/no/such/disk", readOnly: true, serial: "x" }, soon()),
    { code: "Internal", message: /VM pod1: .*vm\.add-disk.*Failed to open disk path/ },
  );
  await assert.rejects(vm.plug({ kind: "nic", tap: "notap", mac: "02:00:00:00:00:01", mtu: 1500 }, soon()), {
    message: /no interface notap/,
  });
});

test("an assigned PCI device is added by its path in sysfs, and found at its slot of the root bus", async (t) => {
  const { vm } = await boot(t, { checkHost: false });
  const plugged = await vm.plug(
    { kind: "pci", address: "0000:01:00.0", windows: { memory: 0, prefetchable: 0 } },
    soon(),
  );
  assert.deepEqual((await vm.info(soon())).config.devices, [
    { id: "pci-0000:01:00.0", path: "/sys/bus/pci/devices/0000:01:00.0" },
  ]);
  assert.match(await plugged.pciPath(soon()), /^[0-9a-f]{2}\.0$/);
  await plugged.unplug();
  assert.deepEqual(Object.keys((await vm.info(soon())).device_tree ?? {}), ["vsock"]);
});

test("a hot-plug whose answer is lost is undone", async (t) => {
  const { vm, fake } = await boot(t, { faults: [{ on: "vm.add-disk", do: "drop", after: true, times: 1 }] });
  const path = join(fake.directory, "disk.img");
  writeFileSync(path, "");
  const disk = { kind: "disk", path, readOnly: false, serial: "data" } as const;
  await assert.rejects(vm.plug(disk, soon()), { code: "Unavailable" });
  assert.deepEqual(Object.keys((await vm.info(soon())).device_tree ?? {}), ["vsock"]);
  await vm.plug(disk, soon());
});

test("a clone of a template runs with its own vsock socket and the template's context id", async (t) => {
  const { vm, fake } = await boot(t);
  const template = join(fake.directory, "template");
  mkdirSync(template);
  await assert.rejects(vm.snapshot(template, soon()), {
    code: "FailedPrecondition",
    message: /in running state/,
  });
  await vm.pause(soon());
  await vm.snapshot(template, soon());
  const target = machine(t);
  const spec: VmSpec = {
    ...target.spec,
    vsock: { kind: "hybrid", cid: 77, socket: join(target.spec.directory, "v.sock") },
  };
  const clone = await new CloudHypervisor().restore(template, spec, target.context());
  const info = await clone.info(soon());
  assert.equal(info.state, "Paused");
  assert.deepEqual(info.config.vsock, { id: "vsock", cid: 3, socket: join(target.spec.directory, "v.sock") });
  await clone.resume(soon());
  assert.equal((await clone.info(soon())).state, "Running");
  await clone.stop(soon());
  assertClean(target);
});

test("a template with devices of a pod is refused, a missing one is NotFound", async (t) => {
  const fake = machine(t);
  const template = join(fake.directory, "template");
  mkdirSync(template);
  await assert.rejects(new CloudHypervisor().restore(template, fake.spec, fake.context()), {
    code: "NotFound",
  });
  writeFileSync(join(template, "config.json"), '{"disks":[{"path":"/x"}]}');
  await assert.rejects(new CloudHypervisor().restore(template, fake.spec, fake.context()), {
    code: "FailedPrecondition",
    message: /contains disks devices/,
  });
  assertClean(fake);
});

const BOOT_FAILURES: {
  name: string;
  script: Script;
  change?: Partial<VmSpec>;
  code: string;
  message: RegExp;
}[] = [
  {
    name: "the VMM exits at once",
    script: { actions: [{ after: "start", do: "exit", stderr: "Failed to open /dev/kvm\n" }] },
    code: "Unavailable",
    message: /VM pod1: boot: cloud-hypervisor exited with status 1: Failed to open \/dev\/kvm/,
  },
  {
    name: "the VMM dies during vm.boot",
    script: { faults: [{ on: "vm.boot", do: "die" }] },
    code: "Unavailable",
    message: /boot: cloud-hypervisor was killed by SIGKILL/,
  },
  {
    name: "the VMM never serves",
    script: { actions: [{ after: "start", do: "hang" }] },
    code: "DeadlineExceeded",
    message: /boot/,
  },
  {
    name: "vm.boot hangs",
    script: { faults: [{ on: "vm.boot", do: "delay", ms: 60_000 }] },
    code: "DeadlineExceeded",
    message: /vm\.boot/,
  },
  {
    name: "vm.create is refused",
    script: {
      faults: [{ on: "vm.create", do: "error", status: 400, body: '["Failed to deserialize JSON"]' }],
    },
    code: "InvalidArgument",
    message: /vm\.create: Failed to deserialize JSON \(HTTP 400\)/,
  },
  {
    name: "the kernel is missing",
    script: {},
    change: { kernel: "/no/such/kernel" },
    code: "FailedPrecondition",
    message: /kernel \/no\/such\/kernel cannot be read; build the guest image or set hypervisor\.kernel/,
  },
  {
    name: "an argument is unknown",
    script: {},
    change: { extraArgs: ["--no-such-option"] },
    code: "Unavailable",
    message: /status 2: error: unexpected argument/,
  },
  {
    name: "the program is missing",
    script: {},
    change: { path: "/no/such/cloud-hypervisor" },
    code: "FailedPrecondition",
    message: /does not exist or is not executable/,
  },
];
for (const { name, script, change, code, message } of BOOT_FAILURES) {
  test(`a failed boot is reported and cleaned up: ${name}`, async (t) => {
    const fake = machine(t, script, change);
    await assert.rejects(
      new CloudHypervisor().boot(fake.spec, fake.context(code === "DeadlineExceeded" ? 4000 : 20_000)),
      { code, message },
    );
    assertClean(fake);
  });
}

const ENDINGS: { name: string; do: "poweroff" | "reboot" | "panic" | "crash" | "exit"; reason: RegExp }[] = [
  { name: "poweroff by the guest", do: "poweroff", reason: /^the guest powered off$/ },
  { name: "restart by the guest", do: "reboot", reason: /^the guest reset itself/ },
  { name: "kernel panic", do: "panic", reason: /^the guest's kernel crashed/ },
  { name: "SIGKILL from outside", do: "crash", reason: /^cloud-hypervisor was killed by SIGKILL/ },
  { name: "exit of the VMM", do: "exit", reason: /^cloud-hypervisor exited with status 1: out of luck$/ },
];
for (const ending of ENDINGS) {
  test(`the reason of a VM's end is reported: ${ending.name}`, async (t) => {
    const action = { after: "boot", do: ending.do, ms: 100, print: "last line\r\n" } as const;
    const { vm, fake } = await boot(t, { actions: [{ ...action, stderr: "out of luck\n" }] });
    const exit = await soon().race(vm.exited);
    assert.match(exit.reason, ending.reason);
    assert.equal(exit.requested, false);
    assert.match(exit.console, /last line/);
    assert.equal(exit.stderr, "out of luck\n");
    await assert.rejects(vm.pause(soon()), { code: "FailedPrecondition" });
    await assert.rejects(vm.info(soon()), {
      code: "FailedPrecondition",
      message: ending.reason.source.startsWith("^the") ? /guest/ : /cloud-hypervisor/,
    });
    await vm.stop(soon());
    assertClean(fake);
  });
}

test("a call that the VMM's exit interrupts reports how it exited", async (t) => {
  const { vm } = await boot(t, { faults: [{ on: "vm.pause", do: "die" }] });
  await assert.rejects(vm.pause(soon()), {
    code: "FailedPrecondition",
    message: /^cannot pause VM pod1: cloud-hypervisor was killed by SIGKILL/,
  });
});

test("stop kills an unresponsive VMM at the deadline", async (t) => {
  const { vm, fake } = await boot(t, { faults: [{ on: "vmm.shutdown", do: "delay", ms: 60_000 }] });
  const started = performance.now();
  await vm.stop(soon(300));
  assert.ok(performance.now() - started < 40_000);
  assert.equal((await vm.exited).requested, true);
  assertClean(fake);
});

test("a second stop with an earlier deadline takes effect", async (t) => {
  const { vm } = await boot(t, { faults: [{ on: "vmm.shutdown", do: "delay", ms: 60_000 }] });
  const patient = vm.stop(soon(60_000));
  const started = performance.now();
  await vm.stop(soon(100));
  await patient;
  assert.ok(performance.now() - started < 40_000);
});

test("a guest that does not release a device is reported, and the VM keeps running", async (t) => {
  const { vm, fake } = await boot(t, { actions: [{ after: "boot", do: "keep-devices" }] });
  const path = join(fake.directory, "disk.img");
  writeFileSync(path, "");
  const pluggedDisk = await vm.plug({ kind: "disk", path, readOnly: false, serial: "data" }, soon());
  vm.ejectMs = 200;
  await assert.rejects(pluggedDisk.unplug(), {
    code: "DeadlineExceeded",
    message: /removing device disk-data/,
  });
  await vm.pause(soon());
});

test("after a pause whose answer is lost, the state is queried", async (t) => {
  const { vm } = await boot(t, {
    faults: [
      { on: "vm.pause", do: "drop", after: true, times: 1 },
      { on: "vm.resume", do: "delay", ms: 300, times: 1 },
    ],
  });
  await assert.rejects(vm.pause(soon()), { code: "Unavailable" });
  await assert.rejects(vm.resume(soon(100)), { code: "DeadlineExceeded" });
  await vm.resume(soon());
  assert.equal((await vm.info(soon())).state, "Running");
  await vm.pause(soon());
  assert.equal((await vm.info(soon())).state, "Paused");
});

test("a call that waits behind a slow one keeps its own deadline", async (t) => {
  const { vm } = await boot(t, { faults: [{ on: "vm.pause", do: "delay", ms: 1000, times: 1 }] });
  const slow = vm.pause(soon());
  await assert.rejects(vm.resume(soon(100)), { code: "DeadlineExceeded" });
  await slow;
  await vm.resume(soon());
});

test("the hybrid socket accepts connections while the VM runs", async (t) => {
  const { fake } = await boot(t);
  const socket = connect(fake.spec.vsock?.kind === "hybrid" ? fake.spec.vsock.socket : "");
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  socket.destroy();
});

async function until(check: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 100 && !check(); attempt++) await sleep(20);
  assert.ok(check());
}
