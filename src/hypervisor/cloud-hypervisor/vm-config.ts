import { failedPrecondition, invalidArgument } from "../../core/errors.ts";
import { checkSize } from "../check-size.ts";
import type {
  BlockSettings,
  DiskDevice,
  NicDevice,
  PciAssignment,
  ShareDevice,
  VmSpec,
  VsockDevice,
} from "../hypervisor.ts";
import { KERNEL_PARAMETERS } from "../kernel-parameters.ts";
import type { DeviceConfig, DiskConfig, FsConfig, NetConfig, VmConfig, VsockConfig } from "./api-types.ts";

const MIB = 1024 * 1024;

/**
 * Returns the body of vm.create. Throws InvalidArgument or FailedPrecondition for what Cloud Hypervisor does not
 * support.
 */
export function vmConfig(spec: VmSpec): VmConfig {
  if (spec.accel !== "kvm") {
    throw failedPrecondition(
      `VM ${spec.name}: cloud-hypervisor runs guests with KVM only, not with accel ${spec.accel}; use hypervisor type qemu on a host without KVM`,
    );
  }
  checkSize(spec);
  const cmdline = [...KERNEL_PARAMETERS, ...spec.kernelParams];
  return {
    payload: { kernel: spec.kernel, initramfs: spec.initrd, cmdline: cmdline.join(" ") },
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

/** Returns the configuration of a share's virtio-fs device. */
export function fsConfig(share: ShareDevice): FsConfig {
  return { id: `fs-${share.tag}`, tag: share.tag, socket: share.socket, num_queues: 1, queue_size: 1024 };
}

/**
 * Returns the configuration of a NIC. It has no MTU: the device gets the tap's, and setting it, even to its current value,
 * needs CAP_NET_ADMIN.
 */
export function netConfig(nic: NicDevice): NetConfig {
  return { id: `net-${nic.tap}`, tap: nic.tap, mac: nic.mac };
}

/** Returns the configuration of a disk. It is always raw: with probing, a guest could write a qcow2 header and read host files. */
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

/** Returns the configuration of an assigned PCI device. */
export function pciConfig({ address }: PciAssignment): DeviceConfig {
  return { id: `pci-${address}`, path: `/sys/bus/pci/devices/${address}` };
}

/** Returns the configuration of the vsock device. Throws InvalidArgument unless it is a hybrid one. */
export function vsockConfig(name: string, vsock: VsockDevice): VsockConfig {
  if (vsock.kind !== "hybrid") {
    throw invalidArgument(
      `VM ${name}: cloud-hypervisor has its own vsock device on a Unix socket and does not support ${vsock.kind}; set vsock to hybrid`,
    );
  }
  return { id: "vsock", cid: vsock.cid, socket: vsock.socket };
}
