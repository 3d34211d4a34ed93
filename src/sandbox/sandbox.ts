import type { GuestAgent } from "../agent/guest-agent.ts";
import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { WantedGroup } from "../oci/guest-devices.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import type { SandboxRequest } from "../oci/sandbox-request.ts";
import type { OciMount } from "../oci/spec.ts";
import type { VmCapacity } from "./vm-capacity.ts";
import type { Health } from "./watchdog.ts";

/** A pod's running VM with everything that serves it; `RunningSandbox` implements it. */
export interface Sandbox {
  /** The VMM's PID: a live process on the host in the pod's network namespace. */
  readonly pid: number;
  readonly agent: GuestAgent;
  readonly capacity: VmCapacity;
  /** The watchdog's latest findings (`runtime.health_interval`). */
  readonly health: Health;
  readonly share: ContainerShare;
  /**
   * Passes changes of the pod's network namespace to the guest: interfaces (hot-plugged), addresses, routes.
   */
  refreshNetwork(deadline: Deadline): Promise<void>;
  /**
   * Hot-plugs a disk. Throws NotFound, and ResourceExhausted or FailedPrecondition if it is not a disk or the
   * VM accepts no more.
   */
  plugDisk(disk: HostDisk, deadline: Deadline): Promise<PluggedDisk>;
  /**
   * Assigns the PCI devices of a VFIO group to the VM. Throws FailedPrecondition if the host or the VM cannot, and
   * ResourceExhausted if the VM has no free port.
   */
  assignGroup(group: WantedGroup, deadline: Deadline): Promise<AssignedGroup>;
  /** Returns the host's directory of the guest kernel's modules that are loaded on demand, if there is one. */
  moduleDirectory(): Promise<string | undefined>;
  /** Probes the guest; resolves by the deadline, with the reason if it does not answer. Never rejects. */
  unresponsiveGuest(deadline: Deadline): Promise<UnresponsiveGuest | undefined>;
  /**
   * Returns the VM's processes on the host that are stopped by a signal: `virtiofsd (process 5)`. Never
   * rejects.
   */
  stopped(): Promise<readonly string[]>;
  /** Resolves with the reason when the VM has exited unexpectedly, or must be stopped. */
  readonly lost: Promise<string>;
  /** Timeout for the guest to carry out a SIGKILL, and to answer during a Delete (`runtime.kill_timeout`). */
  readonly killTimeoutMs: number;
  /**
   * Kills the VM without the guest's help; `lost` resolves with `reason`. Resolves when it is gone, never
   * rejects.
   */
  kill(reason: string): Promise<void>;
  /** The reason of the first `kill`; undefined if there was none. */
  readonly killed: string | undefined;
  /** What it is doing, for the state dump. */
  describe(): Snapshot;
  /** Writes the guest's data back, stops the VM and its helpers, and releases everything. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}

/**
 * A block device of the host by its numbers or its path; with `image`, the path may also be an image file.
 */
export interface HostDisk {
  readonly source:
    | { readonly major: number; readonly minor: number }
    | { readonly path: string; readonly image: boolean };
  readonly readOnly: boolean;
}

/** A disk that was hot-plugged into the VM. */
export interface PluggedDisk {
  /** The serial number by which the guest finds it. */
  readonly serial: string;
  /** Unplugs it from the VM, if that still runs. */
  unplug(): Promise<void>;
}

/** The PCI devices of an IOMMU group that were assigned to the VM. */
export interface AssignedGroup {
  /** Their addresses on the host. */
  readonly addresses: readonly string[];
  /** Where the guest finds each of them (`Plugged.pciPath`), in the same order. */
  readonly pciPaths: readonly string[];
  /** Takes them from the VM, if that still runs. */
  unplug(): Promise<void>;
}

/** The directory that the guest sees over virtio-fs. */
export interface ContainerShare {
  /**
   * Adds a container, and mounts its root file system unless that is a disk (undefined). Undone by `release`.
   */
  add(containerId: string, rootfs: RootfsSource | undefined, deadline: Deadline): Promise<SharedContainer>;
}

/** A container's mounts in the share. */
export interface SharedContainer {
  /** Path of the root file system in the guest; undefined if it is not in the share. */
  readonly rootfs: string | undefined;
  /** Makes a host path available in the guest and returns its path there. */
  bind(mount: OciMount): Promise<string>;
  release(): Promise<void>;
}

/** Why a guest does not answer. */
export interface UnresponsiveGuest {
  /** `qemu (process 5) is stopped; the guest agent does not answer` */
  readonly text: string;
  /** Whether a process on the host is stopped by a signal, so that waiting does not help. */
  readonly stopped: boolean;
}

/** Boots a pod's VM. On a failure, everything is undone before it rejects. */
export type BootSandbox = (request: SandboxRequest, deadline: Deadline) => Promise<Sandbox>;
