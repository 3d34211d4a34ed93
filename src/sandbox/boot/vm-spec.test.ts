import assert from "node:assert/strict";
import { test } from "node:test";
import { BAR, FakeSysfs } from "../../../test/testkit/fake-sysfs.ts";
import { parseText } from "../../config/parse/parse-text.ts";
import { layerOf } from "../../config/result/layer.ts";
import { LoadedConfig } from "../../config/result/loaded-config.ts";
import { type Config, SCHEMA } from "../../config/schema/schema.ts";
import type { DiskDevice, NicDevice, VmSpec } from "../../hypervisor/hypervisor.ts";
import { commandLine } from "../../hypervisor/qemu/command-line.ts";
import { assignablePorts, vmGrowth, vmSpec } from "./vm-spec.ts";

const DISK: DiskDevice = { kind: "disk", path: "/dev/loop0", readOnly: false, serial: "hull-0" };

/** QEMU's command line for a configuration file whose section `hypervisor` has these lines. */
async function argv(
  lines: string,
  accel: VmSpec["accel"],
  disks: readonly DiskDevice[],
  { nic = {}, grows = false }: { nic?: Partial<NicDevice>; grows?: boolean } = {},
): Promise<string[]> {
  const origin = { kind: "file", source: "x.yaml", directory: "/etc/hull" } as const;
  const text = `version: 1\nhypervisor: {${lines}}\nruntime: {static_sandbox_resource_mgmt: ${!grows}}\n`;
  const layer = layerOf(await parseText({ ...origin, text }), origin);
  const { config } = LoadedConfig.of([layer], [], "/opt/hull");
  const spec = vmSpec(config.hypervisor, {
    ...{ name: "default/p1", path: "/usr/bin/qemu-system-x86_64", directory: "/run/hull/default/p1/vm" },
    ...{ netns: "/run/netns/p1", accel, user: { id: 1_500_000_001 } },
    vsock: { kind: "vhost-user", socket: "/s/vhu.sock" },
    share: { kind: "share", tag: "hull", socket: "/s/fs.sock" },
    nics: [{ kind: "nic", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500, ...nic }],
    growth: vmGrowth(config),
  });
  return commandLine({ ...spec, disks }, () => true);
}

const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
const APPEND =
  "console=ttyS0 quiet oops=panic panic=-1 cryptomgr.notests 8250.nr_uarts=1 init_on_alloc=0 initcall_blacklist=tracer_init_tracefs nvme_core.multipath=0 pci=lastbus=0 reboot=t";
const BRIDGE =
  "pci-bridge,id=hotplug,chassis_nr=1,shpc=off,io-reserve=4K,mem-reserve=67108864,pref64-reserve=67108864";
const DIRECTORY = "/opt/hull/guest";

/** A profile's whole command line: arguments separated by spaces, in brackets if they contain one. */
const words = (text: string) =>
  [...text.matchAll(/\[([^\]]*)\]|\S+/g)].map(([word, inBrackets]) => inBrackets ?? word);

const PROFILES: readonly [name: string, lines: string, accel: VmSpec["accel"], expected: string][] = [
  [
    "the default, emulated",
    "",
    "tcg",
    `-name default/p1 -nodefaults -no-user-config -no-reboot -display none -sandbox ${SANDBOX}
     -machine q35,accel=tcg,memory-backend=memory,vmport=off,smbus=off,sata=off,usb=off,graphics=off,i8042=off,hpet=off
     -cpu max -smp 1,maxcpus=2 -m 256M -object memory-backend-memfd,id=memory,size=256M,share=on
     -kernel ${DIRECTORY}/vmlinux -initrd ${DIRECTORY}/initrd.img -append [${APPEND}]
     -chardev stdio,id=console,signal=off -serial chardev:console -chardev socket,id=qmp,fd=3 -mon chardev=qmp,mode=control
     -device virtio-rng-pci-non-transitional -device virtio-balloon-pci-non-transitional,free-page-reporting=on -device vmgenid,guid=auto
     -chardev socket,id=vsock-backend,path=/s/vhu.sock -device vhost-user-vsock-pci,id=vsock,chardev=vsock-backend
     -chardev socket,id=share0-backend,path=/s/fs.sock
     -device vhost-user-fs-pci,id=share0,chardev=share0-backend,tag=hull,queue-size=1024
     -netdev tap,id=nic1-backend,ifname=tap0,script=no,downscript=no
     -device virtio-net-pci-non-transitional,id=nic1,netdev=nic1-backend,mac=02:00:00:00:00:01,host_mtu=1500
     -device ${BRIDGE}`,
  ],
  [
    "a microvm with KVM",
    "machine_type: microvm, template: {enable: false}, default_vcpus: 2, default_memory: 512",
    "kvm",
    `-name default/p1 -nodefaults -no-user-config -no-reboot -display none -sandbox ${SANDBOX}
     -machine microvm,accel=kvm,memory-backend=memory,acpi=on,pcie=off,usb=off,rtc=on,isa-serial=on,auto-kernel-cmdline=off
     -global virtio-mmio.force-legacy=false
     -cpu host -smp 2 -m 512M -object memory-backend-memfd,id=memory,size=512M,share=on
     -kernel ${DIRECTORY}/vmlinux -initrd ${DIRECTORY}/initrd.img -append [${APPEND}]
     -chardev stdio,id=console,signal=off -serial chardev:console -chardev socket,id=qmp,fd=3 -mon chardev=qmp,mode=control
     -device virtio-rng-device -device virtio-balloon-device,free-page-reporting=on
     -chardev socket,id=vsock-backend,path=/s/vhu.sock -device vhost-user-vsock-device,id=vsock,chardev=vsock-backend
     -chardev socket,id=share0-backend,path=/s/fs.sock
     -device vhost-user-fs-device,id=share0,chardev=share0-backend,tag=hull,queue-size=1024
     -netdev tap,id=nic1-backend,ifname=tap0,script=no,downscript=no
     -device virtio-net-device,id=nic1,netdev=nic1-backend,mac=02:00:00:00:00:01,host_mtu=1500`,
  ],
];

for (const [name, lines, accel, expected] of PROFILES) {
  test(`the whole command line: ${name}`, async () => {
    assert.deepEqual(await argv(lines, accel, []), words(expected));
  });
}

test("a macvtap changes the netdev alone: QEMU inherits its device", async () => {
  const [tap, macvtap] = await Promise.all([
    argv("", "tcg", []),
    argv("", "tcg", [], { nic: { device: "/run/hull/default/p1/vm/dev/tap0" } }),
  ]);
  const netdev = "tap,id=nic1-backend,ifname=tap0,script=no,downscript=no";
  assert.deepEqual(
    macvtap,
    tap.map((word) => (word === netdev ? "tap,id=nic1-backend,fd=4" : word)),
  );
  assert.notDeepEqual(macvtap, tap);
});

const MEMORY = "memory-backend-memfd,id=memory,size=256M,share=on";
const NODE = `"driver":"raw","node-name":"disk2-backend","read-only":false`;
const FILE = `"file":{"driver":"host_device","filename":"/dev/loop0"`;
const DRIVE = "virtio-blk-pci-non-transitional,id=disk2,drive=disk2-backend,serial=hull-0";

/** What a key adds to and removes from the command line, with the other lines that it needs. */
const KEYS: Readonly<Record<string, [lines: string, added: string[], gone: string[]]>> = {
  kernel: ["kernel: /k", ["/k"], [`${DIRECTORY}/vmlinux`]],
  initrd: ["initrd: /i", ["/i"], [`${DIRECTORY}/initrd.img`]],
  kernel_params: ["kernel_params: [a=1, b]", [`${APPEND} a=1 b`], [APPEND]],
  cpu_model: ["cpu_model: Haswell", ["Haswell"], ["max"]],
  cpu_features: ["cpu_features: [-pmu, +pcid]", ["max,pmu=off,pcid=on"], ["max"]],
  default_vcpus: ["default_vcpus: 3", ["3"], ["1,maxcpus=2"]],
  default_memory: ["default_memory: 300", ["300M", MEMORY.replace("256", "300")], ["256M", MEMORY]],
  memory_backend: [
    "memory_backend: file, file_mem_backend: /mem",
    ["memory-backend-file,mem-path=/mem,id=memory,size=256M,share=on"],
    [MEMORY],
  ],
  enable_hugepages: ["enable_hugepages: true", [`${MEMORY},hugetlb=on`], [MEMORY]],
  enable_mem_prealloc: ["enable_mem_prealloc: true", [`${MEMORY},prealloc=on`], [MEMORY]],
  reclaim_guest_freed_memory: [
    "reclaim_guest_freed_memory: false",
    ["virtio-balloon-pci-non-transitional,free-page-reporting=off"],
    ["virtio-balloon-pci-non-transitional,free-page-reporting=on"],
  ],
  enable_iothreads: ["enable_iothreads: true", ["iothread,id=disks", `${DRIVE},iothread=disks`], [DRIVE]],
  block_device_aio: [
    "block_device_aio: io_uring",
    [`{${NODE},${FILE},"aio":"io_uring"}}`],
    [`{${NODE},${FILE}}}`],
  ],
  block_device_cache_direct: [
    "block_device_cache_direct: true, block_device_aio: native",
    [
      `{${NODE},"cache":{"direct":true,"no-flush":false},${FILE},"aio":"native","cache":{"direct":true,"no-flush":false}}}`,
    ],
    [`{${NODE},${FILE}}}`],
  ],
  block_device_cache_noflush: [
    "block_device_cache_noflush: true",
    [`{${NODE},"cache":{"direct":false,"no-flush":true},${FILE},"cache":{"direct":false,"no-flush":true}}}`],
    [`{${NODE},${FILE}}}`],
  ],
  entropy_source: [
    "entropy_source: /dev/hwrng",
    ["rng-random,id=entropy,filename=/dev/hwrng", "virtio-rng-pci-non-transitional,rng=entropy"],
    ["virtio-rng-pci-non-transitional"],
  ],
  seccomp_sandbox: ["seccomp_sandbox: false", [], ["-sandbox", SANDBOX]],
  extra_args: ["extra_args: [-d, guest_errors]", ["-d", "guest_errors"], []],
};

/** Keys that do not show in the command line. */
const ELSEWHERE = [
  ...["type", "path", "accel", "machine_type"], // which program, and the profiles above
  ...["rootless", "rootless_first_id"], // whom it is started as: host/process-launcher
  ...["vsock", "vhost_device_vsock", "disable_vhost_net", "file_mem_backend"], // the devices in the pod's surroundings
  ...["virtio_fs_daemon", "virtio_fs_cache", "virtio_fs_extra_args"], // virtiofsd's command line
  ...["default_maxmemory", "default_maxvcpus", "minimum_memory", "guest_overhead_memory"], // the pod's size: resources/sizing
  "memory_slots", // of a VM that grows: below
  "pcie_root_port", // by the devices of the host: below
  "template",
];

for (const [key, [lines, added, gone]] of Object.entries(KEYS)) {
  test(`hypervisor.${key} changes these arguments and no others`, async () => {
    const [before, after] = await Promise.all([argv("", "tcg", [DISK]), argv(lines, "tcg", [DISK])]);
    assert.deepEqual(
      after.filter((word) => !before.includes(word)),
      added.filter((word) => !before.includes(word)),
    );
    assert.ok(added.every((word) => after.includes(word)));
    assert.deepEqual([...new Set(before.filter((word) => !after.includes(word)))], gone);
  });
}

test("a machine that grows has these arguments in addition", async () => {
  const lines = "default_maxvcpus: 4, default_maxmemory: 2048, memory_slots: 3";
  const [before, after] = await Promise.all([
    argv(lines, "tcg", []),
    argv(lines, "tcg", [], { grows: true }),
  ]);
  assert.deepEqual(before, await argv("", "tcg", []));
  assert.deepEqual(
    after.filter((word) => !before.includes(word)),
    ["1,maxcpus=4", "256M,slots=3,maxmem=2048M", `${APPEND} swiotlb=noforce`],
  );
  assert.equal(after.length, before.length);
});

test("ports for assigned devices have room for the largest one of the host", async (t) => {
  const bars = [[2 ** 33, BAR.prefetchable]] as const;
  const sysfs = new FakeSysfs(t).pci({ address: "0000:01:00.0", group: 1, driver: "vfio-pci", bars });
  const ports = await assignablePorts({ pcie_root_port: 2 } as Config["hypervisor"], sysfs.root);
  assert.deepEqual(ports, { count: 2, windows: { memory: 0, prefetchable: 2 ** 33 } });
  assert.equal(await assignablePorts({ pcie_root_port: 0 } as Config["hypervisor"], sysfs.root), undefined);
});

test("every key of the section is tested", () => {
  const implemented = Object.entries(SCHEMA.keys.hypervisor.keys)
    .filter(([, key]) => key.kind === "section" || !("planned" in key && key.planned))
    .map(([name]) => name);
  assert.deepEqual([...Object.keys(KEYS), ...ELSEWHERE].sort(), implemented.sort());
});
