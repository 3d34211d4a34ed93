import assert from "node:assert/strict";
import { test } from "node:test";
import { BODIES, violation } from "../../../test/testkit/cloud-hypervisor-api-schema.ts";
import type { VmSpec } from "../hypervisor.ts";
import { vmConfig } from "./vm-config.ts";

const SPEC: VmSpec = {
  name: "pod1",
  directory: "/run/hull/default/pod1",
  path: "/usr/bin/cloud-hypervisor",
  machine: "q35",
  accel: "kvm",
  cpuModel: "host",
  vcpus: 2,
  memoryMib: 256,
  kernel: "/vmlinux",
  initrd: "/initrd.img",
  kernelParams: ["loglevel=3"],
  netns: undefined,
  vsock: { kind: "hybrid", cid: 3, socket: "/run/hull/default/pod1/vsock.sock" },
  shares: [{ kind: "share", tag: "hull", socket: "/run/hull/default/pod1/fs.sock" }],
  nics: [{ kind: "nic", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1450 }],
  disks: [{ kind: "disk", path: "/dev/loop0", readOnly: true, serial: "rootfs" }],
  extraArgs: [],
};

test("the whole body of vm.create", () => {
  const config = vmConfig(SPEC);
  assert.deepEqual(config, {
    payload: {
      kernel: "/vmlinux",
      initramfs: "/initrd.img",
      cmdline:
        "console=ttyS0 quiet oops=panic panic=-1 cryptomgr.notests 8250.nr_uarts=1 init_on_alloc=0 initcall_blacklist=tracer_init_tracefs nvme_core.multipath=0 pci=lastbus=0 loglevel=3",
    },
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 268435456, shared: true },
    rng: { src: "/dev/urandom" },
    balloon: { size: 0, deflate_on_oom: true, free_page_reporting: true },
    serial: { mode: "Tty" },
    console: { mode: "Off" },
    fs: [
      {
        id: "fs-hull",
        tag: "hull",
        socket: "/run/hull/default/pod1/fs.sock",
        num_queues: 1,
        queue_size: 1024,
      },
    ],
    net: [{ id: "net-tap0", tap: "tap0", mac: "02:00:00:00:00:01" }],
    disks: [{ id: "disk-rootfs", path: "/dev/loop0", readonly: true, serial: "rootfs", image_type: "Raw" }],
    vsock: { id: "vsock", cid: 3, socket: "/run/hull/default/pod1/vsock.sock" },
    pvpanic: true,
  });
});

test("the settings for memory, balloon, entropy and disks", () => {
  const config = vmConfig({
    ...SPEC,
    memory: { hugePages: true, preallocate: true },
    freePageReporting: false,
    entropySource: "/dev/hwrng",
    block: { aio: "threads", direct: true, noFlush: false, ioThread: false },
  });
  const shape = BODIES["vm.create"];
  assert.ok(shape);
  assert.equal(violation(JSON.parse(JSON.stringify(config)), shape), undefined);
  assert.deepEqual(config.memory, { size: 256 << 20, shared: true, hugepages: true, prefault: true });
  assert.equal(config.balloon, undefined);
  assert.equal(config.rng.src, "/dev/hwrng");
  assert.equal(config.disks?.[0]?.direct, true);
});

test("what Cloud Hypervisor does not support is refused with a remedy", () => {
  assert.throws(() => vmConfig({ ...SPEC, accel: "tcg" }), {
    code: "FailedPrecondition",
    message: /pod1: cloud-hypervisor runs guests with KVM only.*use hypervisor type qemu/,
  });
  assert.throws(() => vmConfig({ ...SPEC, memoryMib: 8 }), {
    code: "InvalidArgument",
    message: /8 MiB of memory is too little.*default_memory/,
  });
  assert.throws(() => vmConfig({ ...SPEC, vcpus: 0 }), { code: "InvalidArgument" });
  assert.throws(() => vmConfig({ ...SPEC, vsock: { kind: "vhost-user", socket: "/s" } }), {
    code: "InvalidArgument",
    message: /does not support vhost-user; set vsock to hybrid/,
  });
});
