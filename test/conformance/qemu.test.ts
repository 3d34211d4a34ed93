import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";
import { findProgram } from "../../src/host/program.ts";
import type { VmSpec } from "../../src/hypervisor/hypervisor.ts";
import { Qemu } from "../../src/hypervisor/qemu/driver.ts";
import { SharedTree } from "../../src/storage/shared-tree.ts";
import { startVirtiofsd } from "../../src/storage/virtiofsd.ts";
import { expectGuestCall } from "../../src/vsock/guest-call.ts";
import { startVsockDaemon } from "../../src/vsock/vhost-device-vsock.ts";
import { TEST_ACCEL, TEST_CPU_MODEL } from "../testkit/accel.ts";
import { type ComplianceSetup, hypervisorCompliance } from "../testkit/hypervisor-compliance.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";
import { ownMountApi } from "../testkit/mount-api.ts";
import { requireFiles } from "../testkit/required-files.ts";
import { within } from "../testkit/within.ts";

// Real QEMU with the built guest image. hack/test builds it; HULL_VHOST_DEVICE_VSOCK names the vsock daemon.
const dist = join(import.meta.dirname, "../../dist");
const guest = join(dist, "guest");
const vsockPath = process.env.HULL_VHOST_DEVICE_VSOCK ?? join(dist, "libexec/vhost-device-vsock");
requireFiles(
  [join(guest, "vmlinux"), join(guest, "initrd.img"), vsockPath, "/usr/bin/qemu-system-x86_64"],
  "run hack/setup and hack/build-guest",
);

const POD = "test/conformance";

async function setUp(): Promise<ComplianceSetup> {
  const directory = await mkdtemp(join(tmpdir(), "hull-qemu-"));
  const helpers = new MemoryLedger();
  const deadline = Deadline.after(120_000, "set up");
  const vsock = await startVsockDaemon({ path: vsockPath, directory, pod: POD }, helpers, deadline);
  const call = await expectGuestCall(vsock.hybridSocket, helpers);
  const releases: (() => Promise<unknown>)[] = [() => call.close(), () => vsock.stop(within(30_000))];
  const spec: VmSpec = {
    name: POD,
    directory,
    path: "/usr/bin/qemu-system-x86_64",
    machine: "q35",
    accel: TEST_ACCEL,
    cpuModel: TEST_CPU_MODEL,
    vcpus: 1,
    memoryMib: 256,
    kernel: join(guest, "vmlinux"),
    initrd: join(guest, "initrd.img"),
    kernelParams: [],
    netns: undefined,
    vsock: { kind: "vhost-user", socket: vsock.vhostUserSocket },
    shares: [],
    nics: [],
    disks: [],
    extraArgs: [],
  };
  return {
    hypervisor: new Qemu(dist),
    spec,
    ready: async () => {
      const limit = Deadline.after(240_000, "boot");
      const socket = await call.answered(limit);
      limit.dispose();
      socket.destroy();
    },
    device: async () => {
      const path = join(directory, "disk");
      await writeFile(path, Buffer.alloc(1024 * 1024));
      return { kind: "disk", path, readOnly: true, serial: "hull-test" };
    },
    kill: (vm) => process.kill(vm.pid, "SIGKILL"),
    release: async () => {
      for (const release of releases) await release();
      await rm(directory, { recursive: true });
      assert.deepEqual(helpers.resources, []);
    },
  };
}

hypervisorCompliance("qemu", setUp);

test("a guest without a root file system panics, and the error contains the reason", async () => {
  const setup = await setUp();
  const ledger = new MemoryLedger();
  const deadline = Deadline.after(240_000, "boot");
  const spec = { ...setup.spec, kernelParams: ["rdinit=/no/init", "init=/no/init", "root=/dev/none"] };
  const vm = await setup.hypervisor.boot(spec, { deadline, ledger, pod: POD, log: () => undefined });
  const exit = await deadline.race(vm.exited);
  deadline.dispose();
  assert.match(exit.reason, /^the guest's kernel crashed: Kernel panic - not syncing/);
  assert.equal(exit.requested, false);
  assert.deepEqual(ledger.resources, []);
  await setup.release();
});

test("a VM grows up to its limit", async () => {
  const setup = await setUp();
  const ledger = new MemoryLedger();
  const deadline = Deadline.after(300_000, "boot and grow");
  const growth = { maxVcpus: 2, maxMemoryMib: 1024, memorySlots: 1 };
  const vm = await setup.hypervisor.boot(
    { ...setup.spec, growth },
    { deadline, ledger, pod: POD, log: () => undefined },
  );
  await setup.ready(vm);
  await vm.addMemory(128, deadline);
  await assert.rejects(vm.addMemory(128, deadline), {
    code: "ResourceExhausted",
    message: /all 1 memory slots are in use; raise hypervisor\.memory_slots/,
  });
  await vm.addVcpu(deadline);
  await assert.rejects(vm.addVcpu(deadline), {
    code: "FailedPrecondition",
    message: /already has all of its 2 vCPUs/,
  });
  await vm.stop(within(30_000));
  deadline.dispose();
  assert.deepEqual(ledger.resources, []);
  await setup.release();
});

test("a guest boots with a share that the real virtiofsd serves", async () => {
  const setup = await setUp();
  const ledger = new MemoryLedger();
  const deadline = Deadline.after(240_000, "boot");
  const api = ownMountApi();
  const tree = await SharedTree.create(join(setup.spec.directory, "shared"), api, deadline);
  const places = { installation: dirname(guest), path: process.env.PATH };
  const path = await findProgram("hypervisor.virtio_fs_daemon", "virtiofsd", places);
  const daemon = await startVirtiofsd(
    { path, cache: "auto", extraArgs: [], directory: setup.spec.directory, shared: tree.exported, pod: POD },
    ledger,
    deadline,
  );
  const share = { kind: "share", tag: "hull", socket: daemon.socket } as const;
  const vm = await setup.hypervisor.boot(
    { ...setup.spec, shares: [share] },
    { deadline, ledger, pod: POD, log: () => undefined },
  );
  await setup.ready(vm);
  await vm.stop(within(30_000));
  await daemon.stop(within(30_000));
  await tree.dispose(deadline);
  deadline.dispose();
  assert.deepEqual(ledger.resources, []);
  await setup.release();
});
