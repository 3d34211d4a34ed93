import { failedPrecondition, invalidArgument } from "../../core/errors.ts";
import { checkSize } from "../check-size.ts";
import type {
  BlockSettings,
  DiskDevice,
  NicDevice,
  ShareDevice,
  VmSpec,
  VsockDevice,
} from "../hypervisor.ts";
import { KERNEL_PARAMETERS } from "../kernel-parameters.ts";
import type { DiskConfig, FsConfig, NetConfig, VmConfig, VsockConfig } from "./api-types.ts";

const MIB = 1024 * 1024;

/**
 * The body of vm.create for a machine. Throws InvalidArgument or FailedPrecondition for what Cloud Hypervisor
 * cannot do, before anything is started.
 */
export function vmConfig(spec: VmSpec): VmConfig {
  if (spec.accel !== "kvm") {
    throw failedPrecondition(
      `VM ${spec.name}: cloud-hypervisor runs guests with KVM only, not with accel ${spec.accel}; use hypervisor type qemu on a host without KVM`,
    );
  }
  checkSize(spec);
  return {
    payload: { kernel: spec.kernel, initramfs: spec.initrd, cmdline: commandLine(spec.kernelParams) },
    cpus: { boot_vcpus: spec.vcpus, max_vcpus: spec.vcpus },
    memory: {
      size: spec.memoryMib * MIB,
      shared: true, // virtiofsd maps the guest's memory
      ...(spec.memory?.hugePages && { hugepages: true }),
      ...(spec.memory?.preallocate && { prefault: true }),
    },
    rng: { src: spec.entropySource ?? "/dev/urandom" },
    ...((spec.freePageReporting ?? true) && {
      balloon: { size: 0, deflate_on_oom: true, free_page_reporting: true },
    }),
    serial: { mode: "Tty" },
    console: { mode: "Off" },
    fs: spec.shares.map(fsConfig),
    net: spec.nics.map(netConfig),
    disks: spec.disks.map((disk) => diskConfig(disk, spec.block)),
    ...(spec.vsock && { vsock: vsockConfig(spec.name, spec.vsock) }),
    pvpanic: true,
  };
}

/**
 * The serial port is the console: it prints from the first line on and needs no driver module, but each character
 * leaves the guest, so the kernel says only what matters. A panicking guest restarts at once (panic=-1), which the
 * driver sees as `rebooting`. Later words on the command line win.
 */
function commandLine(params: readonly string[]): string {
  return [...KERNEL_PARAMETERS, ...params].join(" ");
}

export function fsConfig(share: ShareDevice): FsConfig {
  return { id: `fs-${share.tag}`, tag: share.tag, socket: share.socket, num_queues: 1, queue_size: 1024 };
}

/**
 * The VMM opens the tap by name in its own network namespace. No MTU: the device gets the tap's, and to set that, even to
 * what it is, takes a right that the VMM does not have.
 */
export function netConfig(nic: NicDevice): NetConfig {
  return { id: `net-${nic.tap}`, tap: nic.tap, mac: nic.mac };
}

/** Always raw: probing would let a guest that writes a qcow2 header choose which host file it reads. */
export function diskConfig(disk: DiskDevice, settings?: BlockSettings): DiskConfig {
  return {
    id: `disk-${disk.serial}`,
    path: disk.path,
    readonly: disk.readOnly,
    serial: disk.serial,
    image_type: "Raw",
    ...(settings?.direct && { direct: true }),
  };
}

export function vsockConfig(name: string, vsock: VsockDevice): VsockConfig {
  if (vsock.kind !== "hybrid") {
    throw invalidArgument(
      `VM ${name}: cloud-hypervisor has its own vsock device on a Unix socket and does not support ${vsock.kind}; set vsock to hybrid`,
    );
  }
  return { id: "vsock", cid: vsock.cid, socket: vsock.socket };
}
