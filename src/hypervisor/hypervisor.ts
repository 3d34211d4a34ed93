import type { Deadline } from "../core/deadline.ts";
import type { Ledger } from "../core/ledger.ts";
import type { PendingCalls } from "../core/pending-calls.ts";
import type { ProcessUser } from "../host/process-user.ts";

/**
 * The seam between a pod and a virtual machine monitor. Two phases, two types: a `VmSpec` is assembled, `boot`
 * turns it into a running `Vm`. Drivers: qemu/, cloud-hypervisor/; the test kit has a fake; all of them pass the
 * compliance suite in test/testkit.
 */
export interface Hypervisor {
  readonly type: "qemu" | "cloud-hypervisor" | "fake";
  /** Starts the VMM and boots the guest. Resolves when the VMM runs the guest (not when the agent answers). */
  boot(spec: VmSpec, context: VmContext): Promise<Vm>;
  /**
   * Makes a clone of the VM that `Vm.snapshot` saved in the folder `template`; memory, vCPUs and kernel of `spec` must
   * be the template's. The clone is paused and has none of the spec's devices, a hybrid vsock excepted: plug them in,
   * then resume it.
   */
  restore(template: string, spec: VmSpec, context: VmContext): Promise<Vm>;
}

/** What a driver needs from its caller besides the machine's description. */
export interface VmContext {
  readonly deadline: Deadline;
  /** Every process, socket and directory is recorded here before it is created. */
  readonly ledger: Ledger;
  /** `<namespace>/<pod>`: the mark that the VM's processes carry (host/process-launcher.ts). */
  readonly pod: string;
  /** Where calls to the VMM are noted while they are under way. */
  readonly calls?: PendingCalls;
  /** One debug line. */
  log(message: string, fields?: Record<string, unknown>): void;
  /** Hears what the guest writes to its console, as it comes. */
  onConsole?(data: Buffer): void;
}

/** A machine to boot. Paths are the host's; sizes are in the unit that the name says. */
export interface VmSpec {
  /** For messages and the VMM's process name. */
  readonly name: string;
  /** The folder for this VM's sockets, closed to others. */
  readonly directory: string;
  /** The VMM's executable. */
  readonly path: string;
  /** Whom the VMM runs as: its sockets, taps and devices are this user's. Without it: root. */
  readonly user?: ProcessUser | undefined;
  readonly machine: "q35" | "microvm";
  readonly accel: "kvm" | "tcg";
  readonly cpuModel: string;
  /** Features switched on (`+name`) or off (`-name`). */
  readonly cpuFeatures?: readonly string[];
  readonly vcpus: number;
  readonly memoryMib: number;
  /** How far the machine can grow while it runs (`Vm.addVcpu`, `Vm.addMemory`); undefined = not at all. */
  readonly growth?: Growth | undefined;
  readonly kernel: string;
  readonly initrd: string;
  readonly kernelParams: readonly string[];
  /** Network namespace the VMM is started in; undefined = the host's. */
  readonly netns: string | undefined;
  /** undefined = none: a template has nothing of a pod's. */
  readonly vsock: VsockDevice | undefined;
  /**
   * A file on a memory file system that holds the guest's memory, for a VM that is to be saved; QEMU makes it. Without
   * it the memory is anonymous.
   */
  readonly memoryFile?: string;
  /** How the memory is backed where there is no `memoryFile`. */
  readonly memory?: MemorySettings;
  /** Let the guest give freed pages back to the host. Default true. */
  readonly freePageReporting?: boolean;
  /** The host device that feeds the guest's random number generator; without it the kernel's own generator. */
  readonly entropySource?: string;
  readonly block?: BlockSettings;
  /** Filter the VMM's own system calls. Default true. */
  readonly seccomp?: boolean;
  readonly shares: readonly ShareDevice[];
  readonly nics: readonly NicDevice[];
  readonly disks: readonly DiskDevice[];
  /** Extra VMM arguments from the configuration, appended as they are. */
  readonly extraArgs: readonly string[];
}

/** The most that a machine can become. */
export interface Growth {
  readonly maxVcpus: number;
  readonly maxMemoryMib: number;
  /** How often memory can be plugged in. */
  readonly memorySlots: number;
}

interface MemorySettings {
  /** A folder on a memory file system that holds it, as a file without a name. Without it: anonymous (memfd). */
  readonly folder?: string | undefined;
  readonly hugePages: boolean;
  /** Allocate all of it at the start. */
  readonly preallocate: boolean;
}

/** How the VMM serves disks. */
export interface BlockSettings {
  readonly aio: "threads" | "native" | "io_uring";
  /** O_DIRECT: bypass the host's page cache. */
  readonly direct: boolean;
  /** Ignore the guest's flushes. */
  readonly noFlush: boolean;
  /** In a thread of their own. */
  readonly ioThread: boolean;
}

export type VsockDevice =
  /** vhost-user back end listening on `socket`. */
  | { readonly kind: "vhost-user"; readonly socket: string }
  /** The host kernel's vhost-vsock with the reserved context id; `fd` is inherited by the VMM. */
  | { readonly kind: "vhost"; readonly cid: number; readonly fd: number }
  /** The VMM's own device (Cloud Hypervisor): it binds `socket` itself and speaks the hybrid protocol there. */
  | { readonly kind: "hybrid"; readonly cid: number; readonly socket: string };

export interface ShareDevice {
  readonly kind: "share";
  readonly tag: string;
  /** The socket virtiofsd listens on. */
  readonly socket: string;
}

export interface NicDevice {
  readonly kind: "nic";
  readonly tap: string;
  /** The path of the tap's own character device, if it is a macvtap's; else it is opened by its name. */
  readonly device?: string;
  readonly mac: string;
  readonly mtu: number;
  /** Move its packets in the host's kernel (/dev/vhost-net) instead of in the VMM. */
  readonly vhost?: boolean;
}

export interface DiskDevice {
  readonly kind: "disk";
  readonly path: string;
  readonly readOnly: boolean;
  /** virtio-blk serial, at most 20 bytes: how the guest finds it. */
  readonly serial: string;
}

/**
 * A vsock device can be plugged in where the VMM takes a back end from outside (QEMU); one of the kernel's only into a
 * clone that was given its descriptor at the start.
 */
export type HotplugDevice = ShareDevice | NicDevice | DiskDevice | Exclude<VsockDevice, { kind: "hybrid" }>;

/** How the VMM process ended. */
export interface VmExit {
  /** One sentence: "qemu exited with status 1", "qemu was killed by signal 9 (out of memory: ...)". */
  readonly reason: string;
  readonly requested: boolean;
  /** The end of the guest's console and of the VMM's stderr, at most 64 KiB each, printable. */
  readonly console: string;
  readonly stderr: string;
}

/** What the VMM says of the guest. `broken`: it cannot go on, for the reason of that name (`internal-error`). */
export type VmStatus =
  | { readonly state: "running" | "paused" }
  | { readonly state: "broken"; readonly reason: string };

/** A running virtual machine. Every method rejects with FailedPrecondition once the VMM has ended. */
export interface Vm {
  /** The VMM's process id. */
  readonly pid: number;
  /** Resolves (never rejects) when the VMM has ended, however. */
  readonly exited: Promise<VmExit>;
  /** The guest's console so far (the last 64 KiB), printable. */
  console(): string;
  /** Asks the VMM; also while others ask it to change the VM. */
  status(deadline: Deadline): Promise<VmStatus>;
  pause(deadline: Deadline): Promise<void>;
  resume(deadline: Deadline): Promise<void>;
  /** Adds a device; the result takes it out again. */
  plug(device: HotplugDevice, deadline: Deadline): Promise<() => Promise<void>>;
  /**
   * Adds a virtual CPU. Resolves when the guest has taken note of it; it is to be put into use by the agent. Throws
   * FailedPrecondition where the spec has no room for it (`growth`).
   */
  addVcpu(deadline: Deadline): Promise<void>;
  /**
   * Adds memory, in whole blocks of the guest (128 MiB), as `addVcpu` adds a CPU. A guest that refuses it has not got it. Throws
   * FailedPrecondition, or ResourceExhausted when all memory slots are taken.
   */
  addMemory(mib: number, deadline: Deadline): Promise<void>;
  /** Saves the paused VM in the folder `directory`, which exists, for `restore`. After it the VM can only be stopped. */
  snapshot(directory: string, deadline: Deadline): Promise<void>;
  /** Ends the VMM: politely until the deadline, then by SIGKILL. Resolves when the process is gone. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}
