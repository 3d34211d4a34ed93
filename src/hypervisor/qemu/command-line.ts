import type { NicDevice, VmSpec } from "../hypervisor.ts";
import { KERNEL_PARAMETERS } from "../kernel-parameters.ts";
import { type DeviceModel, deviceModel, IO_THREAD, nicModel, pciDriver, vsockModel } from "./devices.ts";
import { portArguments } from "./ports.ts";

/** The descriptor of the QMP connection in QEMU. */
export const QMP_FD = 3;
/** The descriptor of the vhost-vsock device in a booted VM's QEMU. Those of the macvtaps follow it, or replace it. */
export const VHOST_FD = 4;
/** The further descriptors of a clone's QEMU. `vhost` is the vhost-vsock device, if there is one. */
export const CLONE_FD = { memory: 4, state: 5, vhost: 6 } as const;

/** Returns the devices of the macvtaps that QEMU inherits, in the order of their descriptors. */
export const macvtaps = ({ nics }: VmSpec) => nics.flatMap(({ device }) => device ?? []);

function nicFd(spec: VmSpec, { device }: NicDevice): number | undefined {
  if (device === undefined) return undefined;
  return VHOST_FD + (spec.vsock?.kind === "vhost" ? 1 : 0) + macvtaps(spec).indexOf(device);
}

/** In values of QEMU's option lists, a comma is doubled (docs/system/qemu-manpage, "-drive"). */
const escapeValue = (value: string) => value.replaceAll(",", ",,");

/**
 * The guest resets by a triple fault, on which QEMU exits. `earlyprintk=ttyS0` would also show crashes before the
 * console is up, for 0.4 s more CPU time in every boot under TCG.
 */
const RESET = "reboot=t";

/**
 * Returns QEMU's arguments for a VM. A pure function: `isBlockDevice` says which paths of disks are block devices.
 */
export function commandLine(spec: VmSpec, isBlockDevice: (path: string) => boolean): string[] {
  const pci = spec.machine === "q35";
  const argv = [
    ...["-name", escapeValue(spec.name)],
    ...["-nodefaults", "-no-user-config", "-no-reboot"],
    ...["-display", "none"],
    // QEMU starts no programs and gains no privileges. This limits a guest that has taken it over.
    ...((spec.seccomp ?? true)
      ? ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
      : []),
    ...["-machine", machine(spec)],
    // The default transport predates virtio 1.0 and does not support vsock and virtio-fs.
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
    // By its change, a kernel with the driver notices that it was cloned, and reseeds its random number generator.
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
  return [...argv, ...(pci ? portArguments(spec) : []), ...spec.extraArgs];
}

const kernelParameters = (spec: VmSpec) => [
  ...KERNEL_PARAMETERS,
  RESET,
  ...clockParameters(spec),
  // With hot-pluggable memory above 4 GiB, the kernel reserves 64 MiB for 32-bit DMA, which no device here needs.
  ...(spec.growth ? ["swiotlb=noforce"] : []),
  ...spec.kernelParams,
];

/**
 * An emulated microvm's only timer is the PIT. On a busy host, the guest cannot calibrate its TSC with it and hangs. Any
 * plausible frequency will do: with two possible CPUs (`smp`) the kernel uses the TSC for short delays only.
 */
const clockParameters = ({ machine, accel }: VmSpec) =>
  machine === "microvm" && accel === "tcg" ? ["tsc_early_khz=2500000"] : [];

/** Translates `+name` and `-name` to CPU properties (docs/system/cpu-models-x86). */
const cpuFeature = (feature: string) => `${feature.slice(1)}=${feature.startsWith("+") ? "on" : "off"}`;

/** The memory is shared because vhost-user backends map it. If `mem-path` is a directory, QEMU unlinks its file there. */
function memoryBackend({ memoryFile, memory, memoryMib }: VmSpec): string {
  const path = memoryFile ?? memory?.directory;
  const properties = [
    path === undefined ? "memory-backend-memfd" : `memory-backend-file,mem-path=${escapeValue(path)}`,
    ...["id=memory", `size=${memoryMib}M`, "share=on"],
  ];
  if (memoryFile === undefined && memory?.hugePages) properties.push("hugetlb=on");
  if (memoryFile === undefined && memory?.preallocate) properties.push("prealloc=on");
  return properties.join(",");
}

/** QEMU's default source is getrandom(2), which is equivalent to /dev/urandom. */
function entropy(source: string | undefined, driver: string): string[] {
  if (source === undefined || source === "/dev/urandom") return ["-device", driver];
  const object = `rng-random,id=entropy,filename=${escapeValue(source)}`;
  return ["-object", object, "-device", `${driver},rng=entropy`];
}

/**
 * Before 8.0, TCG omits memory barriers if the machine can never have a second CPU (tcg_gen_mb checks CF_PARALLEL). But
 * virtio rings need them, because vhost-user backends run in parallel. A second possible CPU preserves them.
 */
function smp({ accel, vcpus, growth }: VmSpec): string {
  const most = Math.max(vcpus, growth?.maxVcpus ?? 0, accel === "tcg" ? 2 : 1);
  return most > vcpus ? `${vcpus},maxcpus=${most}` : String(vcpus);
}

/** QEMU rejects `slots` without room to grow, and `maxmem` without slots. */
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
  return pci ? pciDriver(driver) : `${driver}-device`;
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
