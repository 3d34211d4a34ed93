import type { Deadline } from "../core/deadline.ts";
import type { Ledger } from "../core/ledger.ts";
import type { PendingCalls } from "../core/pending-calls.ts";
import type { PciWindows } from "../host/pci-device.ts";
import type { ProcessUser } from "../host/process-user.ts";

/**
 * The interface between a pod and its VMM. `boot` turns a `VmSpec` into a running `Vm`. The drivers (qemu/,
 * cloud-hypervisor/, the test kit's fake) pass the compliance suite in test/testkit.
 */
export interface Hypervisor {
  readonly type: "qemu" | "cloud-hypervisor" | "fake";
  /** Starts the VMM and boots the guest. Resolves when the VMM runs the guest (not when the agent answers). */
  boot(spec: VmSpec, context: VmContext): Promise<Vm>;
  /**
   * Clones the VM that `Vm.snapshot` saved in the directory `template`; memory, vCPUs and kernel of `spec` must be
   * the template's. The clone is paused and has none of the spec's devices except a hybrid vsock: hot-plug them,
   * then resume it.
   */
  restore(template: string, spec: VmSpec, context: VmContext): Promise<Vm>;
}

/** What a driver needs from its caller besides the VM's description. */
export interface VmContext {
  readonly deadline: Deadline;
  /** Every process, socket and directory is recorded here before it is created. */
  readonly ledger: Ledger;
  /** `<namespace>/<pod>`: the mark that the VM's processes carry (host/process-launcher.ts). */
  readonly pod: string;
  /** Registers calls to the VMM while they are pending. */
  readonly calls?: PendingCalls;
  /** Writes a debug line. */
  log(message: string, fields?: Record<string, unknown>): void;
  /** Receives what the guest writes to its console, as it arrives. */
  onConsole?(data: Buffer): void;
}

/** A VM to boot. Paths are the host's; sizes are in the unit that the name states. */
export interface VmSpec {
  /** For messages and the VMM's process name. */
  readonly name: string;
  /** The directory for this VM's sockets, inaccessible to other users. */
  readonly directory: string;
  /** The VMM's executable. */
  readonly path: string;
  /** The user that the VMM runs as and that owns its sockets, taps and devices. Default: root. */
  readonly user?: ProcessUser | undefined;
  readonly machine: "q35" | "microvm";
  readonly accel: "kvm" | "tcg";
  readonly cpuModel: string;
  /** CPU features to enable (`+name`) or disable (`-name`). */
  readonly cpuFeatures?: readonly string[];
  readonly vcpus: number;
  readonly memoryMib: number;
  /** How far the VM can grow while it runs (`Vm.addVcpu`, `Vm.addMemory`); undefined = not at all. */
  readonly growth?: Growth | undefined;
  readonly kernel: string;
  readonly initrd: string;
  readonly kernelParams: readonly string[];
  /** The network namespace that the VMM is started in; undefined = the host's. */
  readonly netns: string | undefined;
  /** undefined = none, as for a template. */
  readonly vsock: VsockDevice | undefined;
  /**
   * A file on a memory file system that holds the guest's memory, for a VM that will be saved; QEMU creates it.
   * Default: anonymous memory.
   */
  readonly memoryFile?: string;
  /** How the memory is backed without a `memoryFile`. */
  readonly memory?: MemorySettings;
  /** Return pages that the guest has freed to the host. Default true. */
  readonly freePageReporting?: boolean;
  /** The host device that feeds the guest's random number generator. Default: the host kernel's generator. */
  readonly entropySource?: string;
  readonly block?: BlockSettings;
  /** Filter the VMM's own system calls. Default true. */
  readonly seccomp?: boolean;
  readonly shares: readonly ShareDevice[];
  readonly nics: readonly NicDevice[];
  readonly disks: readonly DiskDevice[];
  /** Extra VMM arguments from the configuration, appended as they are. */
  readonly extraArgs: readonly string[];
  /** Root ports for assigned PCI devices; undefined = none besides the ports for all hot-plugged devices. */
  readonly assignable?: AssignablePorts | undefined;
}

/** PCIe root ports for assigned devices (QEMU). */
export interface AssignablePorts {
  readonly count: number;
  /** The address space that each of them reserves. */
  readonly windows: PciWindows;
}

/** The largest size that a VM can grow to. */
export interface Growth {
  readonly maxVcpus: number;
  readonly maxMemoryMib: number;
  /** How often memory can be hot-plugged. */
  readonly memorySlots: number;
}

interface MemorySettings {
  /** A directory on a memory file system that holds it as an unlinked file. Default: anonymous (memfd). */
  readonly directory?: string | undefined;
  readonly hugePages: boolean;
  /** Allocate all of it at the start. */
  readonly preallocate: boolean;
}

/** How the VMM serves disks. */
export interface BlockSettings {
  readonly aio: "threads" | "native" | "io_uring";
  /** Bypass the host's page cache (O_DIRECT). */
  readonly direct: boolean;
  /** Ignore the guest's flushes. */
  readonly noFlush: boolean;
  /** Serve disks in a thread of their own. */
  readonly ioThread: boolean;
}

/** How the guest's vsock reaches the host. */
export type VsockDevice =
  /** A vhost-user backend that listens on `socket`. */
  | { readonly kind: "vhost-user"; readonly socket: string }
  /** The host kernel's vhost-vsock with the reserved context id; `fd` is inherited by the VMM. */
  | { readonly kind: "vhost"; readonly cid: number; readonly fd: number }
  /** The VMM's own device (Cloud Hypervisor): it binds `socket` itself and speaks the hybrid protocol there. */
  | { readonly kind: "hybrid"; readonly cid: number; readonly socket: string };

/** A virtio-fs device. */
export interface ShareDevice {
  readonly kind: "share";
  readonly tag: string;
  /** The socket that virtiofsd listens on. */
  readonly socket: string;
}

/** A virtio-net device. */
export interface NicDevice {
  readonly kind: "nic";
  /** The name of the interface in the VM's network namespace. */
  readonly tap: string;
  /** The path of a macvtap's character device; other taps are opened by name. */
  readonly device?: string;
  readonly mac: string;
  readonly mtu: number;
  /** Forward its packets in the host's kernel (/dev/vhost-net) instead of in the VMM. */
  readonly vhost?: boolean;
}

/** A virtio-blk device. */
export interface DiskDevice {
  readonly kind: "disk";
  readonly path: string;
  readonly readOnly: boolean;
  /** virtio-blk serial, at most 20 bytes: how the guest finds it. */
  readonly serial: string;
}

/** A PCI device of the host, bound to a VFIO driver, to assign to the VM. */
export interface PciAssignment {
  readonly kind: "pci";
  /** `0000:01:00.0` */
  readonly address: string;
  /** The address space that its BARs need. */
  readonly windows: PciWindows;
}

/**
 * A device that can be hot-plugged. Only QEMU hot-plugs vsock devices, and `vhost` only into a clone that inherited
 * its descriptor.
 */
export type HotplugDevice =
  | ShareDevice
  | NicDevice
  | DiskDevice
  | PciAssignment
  | Exclude<VsockDevice, { kind: "hybrid" }>;

/** A device that was hot-plugged. */
export interface Plugged {
  /** Unplugs it. Resolves when the guest has released it. Idempotent; a failure can be retried. */
  unplug(): Promise<void>;
  /**
   * Returns where the guest finds it: slot and function of each bridge below the root bus, and its own, in hexadecimal
   * (`05.0/00.0`). The guest does not assign these, unlike bus numbers and names.
   */
  pciPath(deadline: Deadline): Promise<string>;
}

/** How the VMM process ended. */
export interface VmExit {
  /** One sentence: "qemu exited with status 1", "qemu was killed by signal 9 (out of memory: ...)". */
  readonly reason: string;
  readonly requested: boolean;
  /** The tails of the guest's console and of the VMM's stderr, at most 64 KiB each, printable. */
  readonly console: string;
  readonly stderr: string;
}

/** The guest's state according to the VMM. `broken` is final; `reason` is the VMM's name for it (`internal-error`). */
export type VmStatus =
  | { readonly state: "running" | "paused" }
  | { readonly state: "broken"; readonly reason: string };

/** A running VM. Every method rejects with FailedPrecondition once the VMM has exited. */
export interface Vm {
  /** The VMM's PID. */
  readonly pid: number;
  /** Resolves when the VMM has exited for whatever reason. Never rejects. */
  readonly exited: Promise<VmExit>;
  /** Returns the last 64 KiB of the guest's console, printable. */
  console(): string;
  /** Queries the VMM, without waiting for pending calls that change the VM. */
  status(deadline: Deadline): Promise<VmStatus>;
  pause(deadline: Deadline): Promise<void>;
  resume(deadline: Deadline): Promise<void>;
  /** Hot-plugs a device. */
  plug(device: HotplugDevice, deadline: Deadline): Promise<Plugged>;
  /**
   * Hot-plugs a virtual CPU. Resolves when the guest has acknowledged it; the agent has to put it online. Rejects with
   * FailedPrecondition if `growth` in the spec does not allow it.
   */
  addVcpu(deadline: Deadline): Promise<void>;
  /**
   * Hot-plugs memory as `addVcpu` does a CPU, in whole blocks of the guest (128 MiB). Rejects with FailedPrecondition
   * if the guest refuses it, with ResourceExhausted if all memory slots are in use.
   */
  addMemory(mib: number, deadline: Deadline): Promise<void>;
  /** Saves the paused VM in `directory`, which must exist, for `restore`. Afterwards the VM can only be stopped. */
  snapshot(directory: string, deadline: Deadline): Promise<void>;
  /** Asks the VMM to exit and kills it at the deadline. Resolves when the process is gone. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}
