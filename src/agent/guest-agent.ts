import type { Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import type { NetworkSettings } from "../network/network-settings.ts";

/**
 * What the pod needs from the agent in its VM, in the pod's own terms. `agent-connection.ts` implements it
 * over ttrpc; the test kit has a fake. Times are milliseconds and dates, never wire types.
 */
export interface GuestAgent {
  /** Resolves with the cause when the connection is lost: nothing in the guest can be reached after that. */
  readonly lost: Promise<Error>;
  readonly version: string;
  readonly kernelRelease: string;

  /** Resolves when the agent has answered. */
  ping(deadline: Deadline): Promise<void>;
  startSandbox(settings: SandboxSettings, deadline: Deadline): Promise<void>;
  /** Applies the host's current network to the guest; removes nothing. */
  updateNetwork(network: NetworkSettings, deadline: Deadline): Promise<void>;
  /**
   * Onlines hot-plugged CPUs and memory, up to the VM's size. Rejects with FailedPrecondition if the guest
   * has less.
   */
  onlineResources(size: GuestSize, deadline: Deadline): Promise<void>;
  createContainer(request: CreateContainer, deadline: Deadline): Promise<void>;
  createExec(request: CreateExec, deadline: Deadline): Promise<void>;
  start(process: ProcessRef, deadline: Deadline): Promise<void>;
  /** Resolves when the process has exited. Has no deadline: a container may run for years. */
  wait(process: ProcessRef): Promise<GuestExit>;
  signal(process: ProcessRef, request: SignalRequest, deadline: Deadline): Promise<void>;
  resize(process: ProcessRef, size: TerminalSize, deadline: Deadline): Promise<void>;
  delete(process: ProcessRef, deadline: Deadline): Promise<void>;
  pause(containerId: string, deadline: Deadline): Promise<void>;
  resume(containerId: string, deadline: Deadline): Promise<void>;
  update(containerId: string, resources: object, deadline: Deadline): Promise<void>;
  stats(containerId: string, deadline: Deadline): Promise<GuestStats>;
  /** Connects one stream of a process, given its token. */
  openStream(token: string, deadline: Deadline): Promise<Socket>;
  /** Calls `listener` for every OOM kill until the connection is lost. */
  onOom(listener: (containerId: string) => void): void;
  /** Syncs the shares and powers the guest off. */
  shutdown(deadline: Deadline): Promise<void>;
  close(): void;
}

/** A container's init process (`execId` empty) or one of its execs. */
export interface ProcessRef {
  readonly containerId: string;
  readonly execId: string;
}

/** The number of CPUs and the memory of a VM. */
export interface GuestSize {
  readonly vcpus: number;
  readonly memoryMib: number;
}

/** How the agent sets up the guest for its pod. */
export interface SandboxSettings {
  readonly hostname: string;
  readonly shares: readonly { readonly tag: string; readonly target: string; readonly readOnly: boolean }[];
  readonly network: NetworkSettings;
  readonly sysctls: Readonly<Record<string, string>>;
  /** Bytes; 0 = the guest's default. */
  readonly shmSize: bigint;
  /** The most files of the shares that the guest may cache; 0 = no limit. */
  readonly maxShareFiles: number;
  /** What connections to the forward port must begin with (32 hex digits). */
  readonly forwardToken: string;
}

/** The streams that the process gets, by token (32 hex digits). */
export interface StdioTokens {
  readonly terminal: boolean;
  readonly stdin?: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly size?: TerminalSize;
}

/** The size of a terminal, in characters. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

/** A container for the agent to create. */
export interface CreateContainer {
  readonly containerId: string;
  /** The OCI runtime spec for the guest. */
  readonly spec: object;
  readonly stdio: StdioTokens;
  readonly blockDevices?: readonly GuestBlockDevice[];
  /** PCI devices that were assigned for the container (`Plugged.pciPath`). */
  readonly pciDevices?: readonly string[];
  readonly ownDevices?: readonly GuestOwnDevice[];
  /** The guest's path of the kernel modules for these devices, if there are any. */
  readonly moduleDirectory?: string | undefined;
  /** The root file system, if it is on a disk of its own. */
  readonly rootDisk?: GuestRootDisk | undefined;
}

/** A hot-plugged disk that holds a container's root file system. */
export interface GuestRootDisk {
  readonly serial: string;
  readonly fsType: string;
  readonly readOnly: boolean;
  /** Options for mount(2) of this file system. */
  readonly options: readonly string[];
}

/** A device of the guest's own kernel, such as /dev/net/tun. */
export interface GuestOwnDevice {
  /** The path in the container. */
  readonly path: string;
  /** Below the guest's /dev. */
  readonly name: string;
}

/** A hot-plugged disk, as a device of a container. */
export interface GuestBlockDevice {
  readonly serial: string;
  /** The path in the container, for which the spec lists a device. */
  readonly path: string;
  readonly access: "r" | "rw";
}

/** An exec for the agent to create. */
export interface CreateExec {
  readonly containerId: string;
  readonly execId: string;
  /** `process` of the OCI runtime spec. */
  readonly process: object;
  readonly stdio: StdioTokens;
}

/**
 * A signal, whether all processes of the container get it, and when an unhandled SIGTERM becomes a SIGKILL.
 */
export interface SignalRequest {
  readonly signal: number;
  readonly all: boolean;
  readonly escalation: "never" | "unhandled" | "immediate" | { readonly afterMs: number };
}

/** How a process ended. */
export interface GuestExit {
  readonly status: number;
  readonly at: Date;
  readonly oomKilled: boolean;
  readonly output: GuestOutput;
}

/** Bytes that a process had written to its output streams when it exited. */
export interface GuestOutput {
  readonly stdout: bigint;
  readonly stderr: bigint;
}

/** The contents of the guest's cgroup v2 files, by name, and of /proc/net/dev. */
export interface GuestStats {
  readonly cgroupFiles: Readonly<Record<string, string>>;
  readonly netDev: string;
}
