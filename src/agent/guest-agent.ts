import type { Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import type { NetworkSettings } from "../network/network-settings.ts";

/**
 * What the pod asks of the agent in its VM, in the pod's own terms. `agent-connection.ts` speaks it over ttrpc;
 * the test kit has a fake. Times are milliseconds and dates, never wire types.
 */
export interface GuestAgent {
  /** Resolves, with the cause, when the connection is gone: nothing in the guest can be reached after that. */
  readonly lost: Promise<Error>;
  readonly version: string;
  readonly kernelRelease: string;

  /** Resolves when the agent has answered that it is there. */
  ping(deadline: Deadline): Promise<void>;
  startSandbox(settings: SandboxSettings, deadline: Deadline): Promise<void>;
  /** Brings the guest's network to what the host's is now; takes nothing away. */
  updateNetwork(network: NetworkSettings, deadline: Deadline): Promise<void>;
  /**
   * Puts plugged-in CPUs and memory into use, up to the VM's whole size. Rejects with FailedPrecondition when the guest
   * has less.
   */
  onlineResources(size: GuestSize, deadline: Deadline): Promise<void>;
  createContainer(request: CreateContainer, deadline: Deadline): Promise<void>;
  createExec(request: CreateExec, deadline: Deadline): Promise<void>;
  start(process: ProcessRef, deadline: Deadline): Promise<void>;
  /** Resolves when the process has ended. Has no deadline: a container may run for years. */
  wait(process: ProcessRef): Promise<GuestExit>;
  signal(process: ProcessRef, request: SignalRequest, deadline: Deadline): Promise<void>;
  resize(process: ProcessRef, size: TerminalSize, deadline: Deadline): Promise<void>;
  delete(process: ProcessRef, deadline: Deadline): Promise<void>;
  pause(containerId: string, deadline: Deadline): Promise<void>;
  resume(containerId: string, deadline: Deadline): Promise<void>;
  update(containerId: string, resources: object, deadline: Deadline): Promise<void>;
  stats(containerId: string, deadline: Deadline): Promise<GuestStats>;
  /** Connects one stream of a process by its token. */
  openStream(token: string, deadline: Deadline): Promise<Socket>;
  /** Calls `listener` for every OOM kill until the connection is lost. */
  onOom(listener: (containerId: string) => void): void;
  /** Writes everything back to the shares and powers the guest off. */
  shutdown(deadline: Deadline): Promise<void>;
  close(): void;
}

/** A container's init process (`execId` empty) or one of its execs. */
export interface ProcessRef {
  readonly containerId: string;
  readonly execId: string;
}

export interface GuestSize {
  readonly vcpus: number;
  readonly memoryMib: number;
}

export interface SandboxSettings {
  readonly hostname: string;
  readonly shares: readonly { readonly tag: string; readonly target: string; readonly readOnly: boolean }[];
  readonly network: NetworkSettings;
  readonly sysctls: Readonly<Record<string, string>>;
  /** Bytes; 0 = the guest's default. */
  readonly shmSize: bigint;
  /** How many files of the shares the guest may remember; 0 = any number. */
  readonly maxShareFiles: number;
  /** What connections to the forward port begin with (32 hex digits). */
  readonly forwardToken: string;
}

/** The streams that are wanted, by token (32 hex digits). */
export interface StdioTokens {
  readonly terminal: boolean;
  readonly stdin?: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly size?: TerminalSize;
}

/** Characters. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

export interface CreateContainer {
  readonly containerId: string;
  /** The OCI runtime spec as the guest shall run it. */
  readonly spec: object;
  readonly stdio: StdioTokens;
  readonly blockDevices?: readonly GuestBlockDevice[];
  /** The root file system, where it is a disk of its own. */
  readonly rootDisk?: GuestRootDisk | undefined;
}

/** A disk that was plugged in, as a container's root file system. */
export interface GuestRootDisk {
  readonly serial: string;
  readonly fsType: string;
  readonly readOnly: boolean;
  /** Options of this file system for mount(2). */
  readonly options: readonly string[];
}

/** A disk that was plugged in, as a device of a container. */
export interface GuestBlockDevice {
  readonly serial: string;
  /** Path in the container; the spec has a device with it. */
  readonly path: string;
  readonly access: "r" | "rw";
}

export interface CreateExec {
  readonly containerId: string;
  readonly execId: string;
  /** OCI runtime spec `process`. */
  readonly process: object;
  readonly stdio: StdioTokens;
}

export interface SignalRequest {
  readonly signal: number;
  readonly all: boolean;
  readonly escalation: "never" | "unhandled" | "immediate" | { readonly afterMs: number };
}

export interface GuestExit {
  readonly status: number;
  readonly at: Date;
  readonly oomKilled: boolean;
  readonly output: GuestOutput;
}

/** Bytes that a process had written to its output streams when it ended. */
export interface GuestOutput {
  readonly stdout: bigint;
  readonly stderr: bigint;
}

/** Raw text of the guest's cgroup v2 files by name, and of /proc/net/dev. */
export interface GuestStats {
  readonly cgroupFiles: Readonly<Record<string, string>>;
  readonly netDev: string;
}
