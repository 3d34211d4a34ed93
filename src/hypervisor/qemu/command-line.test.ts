import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmSpec } from "../hypervisor.ts";
import { commandLine } from "./command-line.ts";

const spec: VmSpec = {
  name: "default/p1",
  directory: "/run/hull/default/p1",
  path: "/usr/bin/qemu-system-x86_64",
  machine: "q35",
  accel: "tcg",
  cpuModel: "max",
  vcpus: 2,
  memoryMib: 256,
  kernel: "/g/vmlinux",
  initrd: "/g/initrd.img",
  kernelParams: ["hull.debug=1"],
  netns: undefined,
  vsock: { kind: "vhost-user", socket: "/run/hull/default/p1/vhu.sock" },
  shares: [{ kind: "share", tag: "hull", socket: "/run/hull/a,b/fs.sock" }],
  nics: [{ kind: "nic", tap: "tap0_hull", mac: "02:00:00:00:00:01", mtu: 1450, vhost: true }],
  disks: [
    { kind: "disk", path: "/img,1", readOnly: true, serial: "d0" },
    { kind: "disk", path: "/dev/loop0", readOnly: false, serial: "d1" },
  ],
  extraArgs: ["-d", "guest_errors"],
};

const APPEND =
  "console=ttyS0 quiet oops=panic panic=-1 cryptomgr.notests 8250.nr_uarts=1 init_on_alloc=0 initcall_blacklist=tracer_init_tracefs nvme_core.multipath=0 pci=lastbus=0 reboot=t";

test("a q35 machine with one device of every kind", () => {
  const argv = commandLine(spec, (path) => path.startsWith("/dev/"));
  const bridge =
    "pci-bridge,id=hotplug,chassis_nr=1,shpc=off,io-reserve=4K,mem-reserve=67108864,pref64-reserve=67108864";
  assert.deepEqual(argv, [
    "-name",
    "default/p1",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-machine",
    "q35,accel=tcg,memory-backend=memory,vmport=off,smbus=off,sata=off,usb=off,graphics=off,i8042=off,hpet=off",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "256M",
    "-object",
    "memory-backend-memfd,id=memory,size=256M,share=on",
    "-kernel",
    "/g/vmlinux",
    "-initrd",
    "/g/initrd.img",
    "-append",
    `${APPEND} hull.debug=1`,
    "-chardev",
    "stdio,id=console,signal=off",
    "-serial",
    "chardev:console",
    "-chardev",
    "socket,id=qmp,fd=3",
    "-mon",
    "chardev=qmp,mode=control",
    "-device",
    "virtio-rng-pci-non-transitional",
    "-device",
    "virtio-balloon-pci-non-transitional,free-page-reporting=on",
    "-device",
    "vmgenid,guid=auto",
    "-chardev",
    "socket,id=vsock-backend,path=/run/hull/default/p1/vhu.sock",
    "-device",
    "vhost-user-vsock-pci,id=vsock,chardev=vsock-backend",
    "-chardev",
    "socket,id=share0-backend,path=/run/hull/a,,b/fs.sock",
    "-device",
    "vhost-user-fs-pci,id=share0,chardev=share0-backend,tag=hull,queue-size=1024",
    "-netdev",
    "tap,id=nic1-backend,ifname=tap0_hull,script=no,downscript=no,vhost=on",
    "-device",
    "virtio-net-pci-non-transitional,id=nic1,netdev=nic1-backend,mac=02:00:00:00:00:01,host_mtu=1450",
    "-blockdev",
    '{"driver":"raw","node-name":"disk2-backend","read-only":true,"file":{"driver":"file","filename":"/img,1"}}',
    "-device",
    "virtio-blk-pci-non-transitional,id=disk2,drive=disk2-backend,serial=d0",
    "-blockdev",
    '{"driver":"raw","node-name":"disk3-backend","read-only":false,"file":{"driver":"host_device","filename":"/dev/loop0"}}',
    "-device",
    "virtio-blk-pci-non-transitional,id=disk3,drive=disk3-backend,serial=d1",
    "-device",
    bridge,
    "-d",
    "guest_errors",
  ]);
});

test("a microvm has no PCI devices and no hotplug ports", () => {
  const argv = commandLine({ ...spec, machine: "microvm", disks: [], nics: [], shares: [] }, () => false);
  assert.ok(argv.includes("vhost-user-vsock-device,id=vsock,chardev=vsock-backend"));
  assert.deepEqual(
    argv.filter((argument) => argument.includes("-pci") || argument.includes("root-port")),
    [],
  );
});

test("the kernel's vhost-vsock gets the inherited descriptor", () => {
  const argv = commandLine({ ...spec, vsock: { kind: "vhost", cid: 77, fd: 20 } }, () => false);
  assert.ok(argv.includes("vhost-vsock-pci,id=vsock,guest-cid=77,vhostfd=4"));
});

test("macvtaps are inherited, as the last descriptors; other taps are opened by name", () => {
  const macvtap = (name: string) => ({
    ...({
      kind: "nic",
      tap: name,
      device: `/dev-of-pod/${name}`,
      mac: "02:00:00:00:00:02",
      mtu: 1500,
    } as const),
  });
  const nics = [macvtap("m0"), ...spec.nics, { ...macvtap("m1"), vhost: true }];
  const netdevs = (vsock: VmSpec["vsock"]) => {
    const args = commandLine({ ...spec, shares: [], disks: [], nics, vsock }, () => false);
    return args.filter((_, index) => args[index - 1] === "-netdev");
  };
  const named = "tap,id=nic1-backend,ifname=tap0_hull,script=no,downscript=no,vhost=on";
  assert.deepEqual(netdevs(spec.vsock), [
    "tap,id=nic0-backend,fd=4",
    named,
    "tap,id=nic2-backend,fd=5,vhost=on",
  ]);
  assert.deepEqual(netdevs({ kind: "vhost", cid: 77, fd: 20 }), [
    "tap,id=nic0-backend,fd=5",
    named,
    "tap,id=nic2-backend,fd=6,vhost=on",
  ]);
});

test("a single CPU has a second possible one under TCG, for memory barriers, but not under KVM", () => {
  const smp = (accel: VmSpec["accel"], vcpus: number) => {
    const args = commandLine({ ...spec, accel, vcpus }, () => false);
    return args[args.indexOf("-smp") + 1];
  };
  assert.equal(smp("tcg", 1), "1,maxcpus=2");
  assert.equal(smp("tcg", 2), "2");
  assert.equal(smp("kvm", 1), "1");
});

test("a VM that can grow has slots for CPUs and memory, and no swiotlb", () => {
  const growth = { maxVcpus: 4, maxMemoryMib: 4096, memorySlots: 6 };
  assert.deepEqual(changed({ growth }), {
    added: ["2,maxcpus=4", "256M,slots=6,maxmem=4096M", `${APPEND} swiotlb=noforce hull.debug=1`],
    gone: ["2", "256M", `${APPEND} hull.debug=1`],
  });
  // QEMU rejects slots without room to grow, and fewer possible CPUs than initial ones.
  const size = (maxVcpus: number, maxMemoryMib: number) =>
    changed({ growth: { ...growth, maxVcpus, maxMemoryMib } }).added.slice(0, -1);
  assert.deepEqual(size(1, 256), []);
  assert.deepEqual(size(2, 128), []);
});

/** Returns the arguments that these settings add to and remove from those of `spec`. */
function changed(change: Partial<VmSpec>): { added: string[]; gone: string[] } {
  const [before, after] = [commandLine(spec, () => false), commandLine({ ...spec, ...change }, () => false)];
  return {
    added: after.filter((argument) => !before.includes(argument)),
    gone: before.filter((argument) => !after.includes(argument)),
  };
}

test("each setting changes its own arguments and no others", () => {
  assert.deepEqual(changed({ cpuFeatures: ["-pmu", "+pcid"] }), {
    added: ["max,pmu=off,pcid=on"],
    gone: ["max"],
  });
  const memory = "memory-backend-memfd,id=memory,size=256M,share=on";
  assert.deepEqual(changed({ memory: { hugePages: true, preallocate: true } }), {
    added: [`${memory},hugetlb=on,prealloc=on`],
    gone: [memory],
  });
  assert.deepEqual(changed({ memory: { directory: "/dev/shm/a,b", hugePages: false, preallocate: false } }), {
    added: ["memory-backend-file,mem-path=/dev/shm/a,,b,id=memory,size=256M,share=on"],
    gone: [memory],
  });
  assert.deepEqual(changed({ freePageReporting: false }), {
    added: ["virtio-balloon-pci-non-transitional,free-page-reporting=off"],
    gone: ["virtio-balloon-pci-non-transitional,free-page-reporting=on"],
  });
  assert.deepEqual(changed({ entropySource: "/dev/urandom" }), { added: [], gone: [] });
  assert.deepEqual(changed({ entropySource: "/dev/hwrng" }), {
    added: ["rng-random,id=entropy,filename=/dev/hwrng", "virtio-rng-pci-non-transitional,rng=entropy"],
    gone: ["virtio-rng-pci-non-transitional"],
  });
  assert.deepEqual(changed({ seccomp: false }), {
    added: [],
    gone: ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
  });
});

test("disks get the configured cache mode, AIO mode and I/O thread", () => {
  const disks = [{ kind: "disk", path: "/img", readOnly: false, serial: "d0" }] as const;
  const block = { aio: "native", direct: true, noFlush: false, ioThread: true } as const;
  const argv = commandLine({ ...spec, shares: [], nics: [], disks, block }, () => false);
  assert.deepEqual(argv.slice(argv.indexOf("-blockdev"), argv.indexOf("-blockdev") + 4), [
    "-blockdev",
    '{"driver":"raw","node-name":"disk0-backend","read-only":false,"cache":{"direct":true,"no-flush":false},"file":{"driver":"file","filename":"/img","aio":"native","cache":{"direct":true,"no-flush":false}}}',
    "-device",
    "virtio-blk-pci-non-transitional,id=disk0,drive=disk0-backend,serial=d0,iothread=disks",
  ]);
  assert.ok(argv.indexOf("iothread,id=disks") < argv.indexOf("-blockdev"));
  const threads = { aio: "threads", direct: false, noFlush: true, ioThread: false } as const;
  const node = commandLine({ ...spec, shares: [], nics: [], disks, block: threads }, () => false);
  assert.match(node[node.indexOf("-blockdev") + 1] ?? "", /"cache":\{"direct":false,"no-flush":true\}/);
  assert.doesNotMatch(node[node.indexOf("-blockdev") + 1] ?? "", /aio/);
});
