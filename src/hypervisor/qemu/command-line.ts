import type { NicDevice, VmSpec } from "../hypervisor.ts";
import { KERNEL_PARAMETERS } from "../kernel-parameters.ts";
import { type DeviceModel, deviceModel, IO_THREAD, nicModel, vsockModel } from "./devices.ts";

/**
 * Descriptors that QEMU inherits: the QMP connection, then the vhost-vsock device if there is one, then the macvtaps; a
 * clone's are the QMP connection, its memory, its state, and the vhost-vsock device if there is one.
 */
export const QMP_FD = 3;
export const VHOST_FD = 4;
export const CLONE_FD = { memory: 4, state: 5, vhost: 6 } as const;

/** The devices of the macvtaps that QEMU inherits, in the order of their descriptors. */
export const macvtaps = ({ nics }: VmSpec) => nics.flatMap(({ device }) => device ?? []);

function nicFd(spec: VmSpec, { device }: NicDevice): number | undefined {
  if (device === undefined) return undefined;
  return VHOST_FD + (spec.vsock?.kind === "vhost" ? 1 : 0) + macvtaps(spec).indexOf(device);
}

/**
 * PCIe root ports that a q35 machine has for devices plugged in later. Each one costs the guest boot time; a template
 * is booted once, and its clones get all their devices that way.
 */
export const hotplugPorts = (spec: VmSpec) => (spec.memoryFile === undefined ? 4 : 8);

export const portName = (index: number) => `hotplug${index}`;

/** Values of QEMU's option lists hold a comma as two (docs/system/qemu-manpage, "-drive"). */
const escapeValue = (value: string) => value.replaceAll(",", ",,");

/**
 * A guest resets by a triple fault, which QEMU takes for its end. A guest that dies before its console is up is silent;
 * `earlyprintk=ttyS0` shows it, for 0.4 s more CPU time in every boot under TCG.
 */
const RESET = "reboot=t";

/**
 * The arguments of QEMU for a machine, without the program. Pure: `isBlockDevice` answers for the paths of disks.
 */
export function commandLine(spec: VmSpec, isBlockDevice: (path: string) => boolean): string[] {
  const pci = spec.machine === "q35";
  const argv = [
    ...["-name", escapeValue(spec.name)],
    ...["-nodefaults", "-no-user-config", "-no-reboot"],
    ...["-display", "none"],
    // The VMM starts no program and gains no right; what a guest that breaks out could do gets smaller.
    ...((spec.seccomp ?? true)
      ? ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
      : []),
    ...["-machine", machine(spec)],
    // The transport of before virtio 1.0, which is the default, has no vsock and no file system.
    ...(pci ? [] : ["-global", "virtio-mmio.force-legacy=false"]),
    ...["-cpu", [escapeValue(spec.cpuModel), ...(spec.cpuFeatures ?? []).map(cpuFeature)].join(",")],
    ...["-smp", smp(spec)],
    ...["-m", memorySize(spec)],
    ...["-object", memoryBackend(spec)],
    ...["-kernel", spec.kernel, "-initrd", spec.initrd],
    ...["-append", kernelParameters(spec).join(" ")],
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-chardev", `socket,id=qmp,fd=${QMP_FD}`, "-mon", "chardev=qmp,mode=control"],
    ...entropy(spec.entropySource, bus("virtio-rng", pci)),
    ...[
      "-device",
      `${bus("virtio-balloon", pci)},free-page-reporting=${option(spec.freePageReporting ?? true)}`,
    ],
    // A clone's kernel hears by it that it is one, where it has the driver, and reseeds its random generator.
    ...(pci ? ["-device", "vmgenid,guid=auto"] : []),
    ...(spec.block?.ioThread ? ["-object", `iothread,id=${IO_THREAD}`] : []),
    ...(!spec.vsock || spec.vsock.kind === "hybrid" ? [] : device(vsockModel(spec.vsock, VHOST_FD), pci)),
  ];
  [...spec.shares, ...spec.nics, ...spec.disks].forEach((one, index) => {
    const id = `${one.kind}${index}`;
    const block = one.kind === "disk" && isBlockDevice(one.path);
    const model =
      one.kind === "nic" ? nicModel(one, id, nicFd(spec, one)) : deviceModel(one, id, block, spec.block);
    argv.push(...device(model, pci));
  });
  if (pci) {
    for (let index = 0; index < hotplugPorts(spec); index++) {
      argv.push("-device", `pcie-root-port,id=${portName(index)},chassis=${index + 1},slot=${index + 1}`);
    }
  }
  return [...argv, ...spec.extraArgs];
}

const kernelParameters = (spec: VmSpec) => [
  ...KERNEL_PARAMETERS,
  RESET,
  ...clockParameters(spec),
  // Memory that could be plugged in above 4 GiB makes the kernel set 64 MiB aside for devices that cannot reach there.
  // There are none.
  ...(spec.growth ? ["swiotlb=noforce"] : []),
  ...spec.kernelParams,
];

/**
 * An emulated microvm has no timer but the PIT, against which a busy host's guest cannot measure its TSC: it then hangs.
 * Any plausible frequency will do: the kernel distrusts the TSC of a machine with two possible CPUs (`smp`), and only
 * short delays are counted by it.
 */
const clockParameters = ({ machine, accel }: VmSpec) =>
  machine === "microvm" && accel === "tcg" ? ["tsc_early_khz=2500000"] : [];

/** `+name` and `-name` as QEMU's properties (docs/system/cpu-models-x86). */
const cpuFeature = (feature: string) => `${feature.slice(1)}=${feature.startsWith("+") ? "on" : "off"}`;

/** vhost-user back ends map the guest's memory: it must be shareable. A folder's file has no name and goes with QEMU. */
function memoryBackend({ memoryFile, memory, memoryMib }: VmSpec): string {
  const path = memoryFile ?? memory?.folder;
  const words = [
    path === undefined ? "memory-backend-memfd" : `memory-backend-file,mem-path=${escapeValue(path)}`,
    ...["id=memory", `size=${memoryMib}M`, "share=on"],
  ];
  if (memoryFile === undefined && memory?.hugePages) words.push("hugetlb=on");
  if (memoryFile === undefined && memory?.preallocate) words.push("prealloc=on");
  return words.join(",");
}

/** QEMU's own source is getrandom(2), which is what /dev/urandom gives. */
function entropy(source: string | undefined, driver: string): string[] {
  if (source === undefined || source === "/dev/urandom") return ["-device", driver];
  const object = `rng-random,id=entropy,filename=${escapeValue(source)}`;
  return ["-object", object, "-device", `${driver},rng=entropy`];
}

/**
 * QEMU before 8.0 leaves memory barriers out of the code it emulates when the machine can only ever have one CPU
 * (tcg_gen_mb looks at CF_PARALLEL; 8.0 stopped that). But vhost-user back ends run beside it, and virtio rings need
 * the barriers. A second CPU that could be plugged in keeps them.
 */
function smp({ accel, vcpus, growth }: VmSpec): string {
  const most = Math.max(vcpus, growth?.maxVcpus ?? 0, accel === "tcg" ? 2 : 1);
  return most > vcpus ? `${vcpus},maxcpus=${most}` : String(vcpus);
}

/** QEMU refuses slots for no memory, and memory for no slots. */
function memorySize({ memoryMib, growth }: VmSpec): string {
  if (!growth || growth.memorySlots === 0 || growth.maxMemoryMib <= memoryMib) return `${memoryMib}M`;
  return `${memoryMib}M,slots=${growth.memorySlots},maxmem=${growth.maxMemoryMib}M`;
}

function machine(spec: VmSpec): string {
  const common = `accel=${spec.accel},memory-backend=memory`;
  return spec.machine === "q35"
    ? `q35,${common},vmport=off,smbus=off,sata=off,usb=off,graphics=off,i8042=off,hpet=off`
    : `microvm,${common},acpi=on,pcie=off,usb=off,rtc=on,isa-serial=on,auto-kernel-cmdline=off`;
}

function bus(driver: string, pci: boolean): string {
  return `${driver}-${pci ? "pci" : "device"}`;
}

function device(model: DeviceModel, pci: boolean): string[] {
  const properties = Object.entries({ id: model.frontend.id, ...model.frontend.properties });
  const frontend = [
    bus(model.frontend.driver, pci),
    ...properties.map(([key, value]) => `${key}=${option(value)}`),
  ];
  return [...backend(model.backend), "-device", frontend.join(",")];
}

function backend(model: DeviceModel["backend"]): string[] {
  switch (model?.kind) {
    case undefined:
      return [];
    case "chardev":
      return ["-chardev", `socket,id=${model.id},path=${escapeValue(model.path)}`];
    case "netdev": {
      const { id, tap, vhost } = model;
      const what = "fd" in tap ? `fd=${tap.fd}` : `ifname=${escapeValue(tap.tap)},script=no,downscript=no`;
      return ["-netdev", `tap,id=${id},${what}${vhost ? ",vhost=on" : ""}`];
    }
    case "block":
      return ["-blockdev", JSON.stringify(model.node)];
  }
}

function option(value: string | number | boolean): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return escapeValue(String(value));
}
