import { join } from "node:path";
import type { HostOptions } from "./options.ts";

/** The files of a host, and its QEMU. */
export interface HostFiles {
  readonly qemu: string;
  readonly kernel: string;
  readonly initrd: string;
  /** The directory with its sockets and logs. */
  readonly directory: string;
}

/** The shared directories: the machine's files, and those of the lab. */
export const SHARES = ["root", "lab"] as const;

/** The spare PCI devices of a host with an IOMMU, each behind a port of its own and so in an IOMMU group of its own. */
export const SPARE_DEVICES = [
  { driver: "e1000e", id: "spare-e1000e", netdev: "spare0", mac: "52:54:00:00:01:01" },
  { driver: "igb", id: "spare-igb", netdev: "spare1", mac: "52:54:00:00:01:02" },
  {
    driver: "virtio-net-pci",
    id: "spare-virtio-net",
    netdev: "spare2",
    mac: "52:54:00:00:01:03",
    iommu_platform: true,
  },
  { driver: "nvme", id: "spare-nvme", drive: "spare-disk", serial: "spare" },
] as const;

/** The name of a shared directory, which is also its tag. */
export type Share = (typeof SHARES)[number];

/** The PCIe port for a shared directory or a spare device. */
export const portOf = (device: string): string => `port-${device}`;

/** The disk of the spare NVMe controller. */
export const spareDisk = (directory: string): string => join(directory, "spare-disk");

/** The disk of a host with systemd, for what it writes. */
export const DISK = { driver: "virtio-blk-pci", id: "disk", drive: "disk-file" } as const;

/** The file of that disk. */
export const diskFile = (directory: string): string => join(directory, "disk");

/** The file to which the serial console is written. */
export const consoleLog = (directory: string): string => join(directory, "console.log");

/** The socket of QMP. */
export const qmpSocket = (directory: string): string => join(directory, "qmp.sock");

/** No mitigations: they cost much time under emulation. The clocks are known to be good, so the kernel need not test them. */
const KERNEL_PARAMETERS = [
  ..."console=ttyS0 panic=-1 quiet mitigations=off nokaslr".split(" "),
  ..."tsc=reliable no_timer_check random.trust_cpu=on net.ifnames=0".split(" "),
];

const PRIVATE = "memory-backend-ram";
const SHARED = "memory-backend-memfd,share=on";

/** A processor with SVM and nested paging, without features that TCG lacks and would warn about. */
const CPU = `EPYC-v4,+svm,+npt,${"fxsr-opt misalignsse osvw topoext perfctr-core clzero ibpb nrip-save xsavec xsaves"
  .split(" ")
  .map((feature) => `-${feature}`)
  .join(",")}`;

/**
 * How a host starts. One that is booted for a snapshot has private memory: saving it reads all pages, which would allocate those
 * of shared memory, as the daemons of the shared directories need it.
 */
type Start = "boot" | "boot for a snapshot" | "restore";

/** Returns QEMU's command line for a host. A host to restore waits for a snapshot's state. */
export function commandLine(options: HostOptions, files: HostFiles, start: Start): string[] {
  const { directory } = files;
  const memory = `${options.memoryMib}M`;
  const kernelParameters = [...KERNEL_PARAMETERS, ...(options.iommu ? ["intel_iommu=on", "iommu=pt"] : [])];
  return [
    files.qemu,
    ...["-nodefaults", "-no-user-config", "-display", "none", "-name", "hull-lab"],
    ...(options.systemd ? [] : ["-no-reboot"]),
    ...["-machine", `q35,memory-backend=memory`],
    ...accelerator(options),
    ...["-cpu", CPU, "-smp", String(options.cpus), "-m", memory],
    ...["-object", `${start === "boot for a snapshot" ? PRIVATE : SHARED},id=memory,size=${memory}`],
    ...["-kernel", files.kernel, "-initrd", files.initrd, "-append", kernelParameters.join(" ")],
    ...["-chardev", `file,id=console,path=${consoleLog(directory)}`, "-serial", "chardev:console"],
    ...(options.iommu ? ["-device", "intel-iommu,intremap=on,caching-mode=on"] : []),
    ...["-qmp", `unix:${qmpSocket(directory)},server=on,wait=off`],
    ...ports([
      ...SHARES,
      ...(options.systemd ? [DISK.id] : []),
      ...(options.iommu ? SPARE_DEVICES.map(({ id }) => id) : []),
    ]),
    ...(options.iommu ? spareHardware(directory) : []),
    ...(options.systemd
      ? ["-drive", `if=none,id=${DISK.drive},format=raw,cache=unsafe,file=${diskFile(directory)}`]
      : []),
    // Only ssh from the lab's network namespace reaches the host, and the host reaches nothing.
    ...["-netdev", "user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:22-10.0.2.15:22"],
    ...["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"],
    ...(start === "restore" ? ["-incoming", "defer"] : []),
  ];
}

function accelerator({ accelOptions, exactTime }: HostOptions): string[] {
  const options = accelOptions ?? (exactTime ? "thread=single" : "thread=multi");
  const icount = exactTime ? ["-icount", "shift=1,sleep=on"] : [];
  return ["-accel", `tcg,tb-size=1024,${options}`, ...icount];
}

function ports(devices: readonly string[]): string[] {
  return devices.flatMap((device, index) => [
    "-device",
    `pcie-root-port,id=${portOf(device)},chassis=${index + 1},slot=${index + 1}`,
  ]);
}

/** What the spare devices need; they are hot-plugged later. The network devices are on one hub. */
function spareHardware(directory: string): string[] {
  const hub = SPARE_DEVICES.flatMap((device) =>
    "netdev" in device ? ["-netdev", `hubport,id=${device.netdev},hubid=1`] : [],
  );
  return [...hub, "-drive", `if=none,id=spare-disk,format=raw,file=${spareDisk(directory)}`];
}
