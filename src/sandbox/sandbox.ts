import type { GuestAgent } from "../agent/guest-agent.ts";
import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import type { SandboxRequest } from "../oci/sandbox-request.ts";
import type { OciMount } from "../oci/spec.ts";
import type { VmCapacity } from "./vm-capacity.ts";
import type { Health } from "./watchdog.ts";

/** The running VM of a pod with everything that serves it. `boot-sandbox.ts` makes the real one. */
export interface Sandbox {
  /** The VMM's process id: a live host process in the pod's network namespace. */
  readonly pid: number;
  readonly agent: GuestAgent;
  readonly capacity: VmCapacity;
  /** What the watchdog has found of late (`runtime.health_interval`). */
  readonly health: Health;
  readonly share: ContainerShare;
  /** Gives the guest what is new in the pod's network namespace: interfaces (plugged in), addresses, routes. */
  refreshNetwork(deadline: Deadline): Promise<void>;
  /** Plugs a disk into the VM. Throws NotFound; ResourceExhausted or FailedPrecondition where it is none or the VM takes no more. */
  plugDisk(disk: HostDisk, deadline: Deadline): Promise<PluggedDisk>;
  /** Asks whether the guest answers: resolves by the deadline, with what keeps it from that. Never rejects. */
  silence(deadline: Deadline): Promise<GuestSilence | undefined>;
  /** The VM's processes on the host that a signal has stopped: `virtiofsd (process 5)`. Never rejects. */
  stopped(): Promise<readonly string[]>;
  /** Resolves with the reason when the VM has ended without being asked to, or has to be. */
  readonly lost: Promise<string>;
  /** How long the guest may take to carry out a SIGKILL, and be silent in a deletion (`runtime.kill_timeout`). */
  readonly killTimeoutMs: number;
  /** Ends the VM at once, without the guest's help: `lost` says the reason. Resolves when it is gone. Never rejects. */
  kill(reason: string): Promise<void>;
  /** Why `kill` was called first; undefined where it was not. */
  readonly killed: string | undefined;
  /** What it is doing, for the state dump. */
  describe(): Snapshot;
  /** Writes the guest's data back, ends the VM and its helpers, frees all they had. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}

/** A block device of the host by its numbers, or by its path, with `image` also an image file. */
export interface HostDisk {
  readonly source:
    | { readonly major: number; readonly minor: number }
    | { readonly path: string; readonly image: boolean };
  readonly readOnly: boolean;
}

export interface PluggedDisk {
  /** By which the guest finds it. */
  readonly serial: string;
  /** Takes it out of the VM again, if that still runs. */
  unplug(): Promise<void>;
}

/** The directory the guest sees over virtio-fs. */
export interface ContainerShare {
  /**
   * Mounts a container's root file system, unless that is a disk (undefined), and makes its host paths available; undone
   * by `release`.
   */
  add(containerId: string, rootfs: RootfsSource | undefined, deadline: Deadline): Promise<SharedContainer>;
}

export interface SharedContainer {
  /** Path of the root file system in the guest; undefined when it is not in the share. */
  readonly rootfs: string | undefined;
  /** Makes a host path available in the guest and answers its path there. */
  bind(mount: OciMount): Promise<string>;
  release(): Promise<void>;
}

/** What keeps a guest from answering. */
export interface GuestSilence {
  /** `qemu (process 5) is stopped; the guest agent does not answer` */
  readonly text: string;
  /** A signal has stopped a process of the host: patience does not help. */
  readonly stopped: boolean;
}

export type BootSandbox = (request: SandboxRequest, deadline: Deadline) => Promise<Sandbox>;
