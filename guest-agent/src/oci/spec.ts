import { invalidArgument } from "../../../src/core/errors.ts";
import { POD_PID_NAMESPACE } from "../../../src/core/guest-paths.ts";
import type { DeviceNode } from "../devices/pci-device.ts";
import { checkPath } from "../names.ts";
import type { Disk } from "../storage/disks.ts";

/**
 * `process` of the OCI runtime spec (runtime-spec, config.md): the fields that the agent uses; the others are
 * passed to crun.
 */
export interface Process {
  args: string[];
  env?: string[];
  cwd?: string;
  terminal?: boolean;
  consoleSize?: { width: number; height: number };
  [other: string]: unknown;
}

interface Namespace {
  type: string;
  path?: string;
}

interface Spec {
  process: Process;
  root: { path: string; [other: string]: unknown };
  linux: { cgroupsPath?: string; namespaces?: Namespace[]; [other: string]: unknown };
  [other: string]: unknown;
}

/**
 * The version passed to crun. Debian 12's crun (1.8) accepts 1.0.x only ("unknown version specified"), while
 * containerd 1.7 and 2 write later ones; later minor versions only add fields, and crun ignores unknown
 * fields.
 */
const SPEC_VERSION = "1.0.2";

interface SpecContext {
  /** Relative to the root of the cgroup hierarchy. */
  cgroupsPath: string;
  terminal: boolean;
  /** Returns the path of the pod's shared PID namespace; called only if the container uses it. */
  podPidNamespace: () => string;
  disks: readonly Disk[];
  /** Device nodes to add. */
  nodes: readonly DeviceNode[];
  /** Where the root file system is mounted, if not at the spec's path. */
  rootPath?: string | undefined;
}

/** Parses and checks a container's spec and fills in what only the guest knows. Throws InvalidArgument. */
export function prepareSpec(bytes: Uint8Array, context: SpecContext): Spec {
  const spec = parseObject("spec", bytes);
  const root = object("spec: root", spec.root);
  if (typeof root.path !== "string") throw invalidArgument("spec: root.path: must be a string");
  checkPath("spec: root.path", root.path);
  const process = checkProcess("spec: process", spec.process);
  const linux = { ...object("spec: linux", spec.linux ?? {}), cgroupsPath: context.cgroupsPath };
  return {
    ...spec,
    ociVersion: SPEC_VERSION,
    root: { ...root, path: context.rootPath ?? root.path },
    process: { ...process, terminal: context.terminal },
    linux: withNodes(
      withDisks(withPidNamespace(linux, context.podPidNamespace), context.disks),
      context.nodes,
    ),
  };
}

/** Parses and checks the `process` of an exec. Throws InvalidArgument. */
export function prepareProcess(bytes: Uint8Array, terminal: boolean): Process {
  return { ...checkProcess("process", parseObject("process", bytes)), terminal };
}

function withPidNamespace(linux: Spec["linux"], path: () => string): Spec["linux"] {
  const wanted = ({ type, path }: Namespace) => type === "pid" && path === POD_PID_NAMESPACE;
  if (!linux.namespaces?.some(wanted)) return linux;
  const namespaces = linux.namespaces.map((one) => (wanted(one) ? { ...one, path: path() } : one));
  return { ...linux, namespaces };
}

/** Sets the numbers that block devices have in this guest and allows the container to use them. */
function withDisks(linux: Spec["linux"], disks: readonly Disk[]): Spec["linux"] {
  if (disks.length === 0) return linux;
  const devices = list("spec: linux.devices", linux.devices);
  const resources = object("spec: linux.resources", linux.resources ?? {});
  const rules = list("spec: linux.resources.devices", resources.devices);
  const allowed = disks.map(({ access, major, minor }) => ({ allow: true, type: "b", major, minor, access }));
  return {
    ...linux,
    devices: devices.map((device) => {
      const disk = disks.find(({ path }) => path === device.path);
      return disk ? { ...device, type: "b", major: disk.major, minor: disk.minor } : device;
    }),
    resources: { ...resources, devices: [...rules, ...allowed] },
  };
}

/** Adds device nodes and allows the container to use them. A device of the spec with the same path stays. */
function withNodes(linux: Spec["linux"], nodes: readonly DeviceNode[]): Spec["linux"] {
  if (nodes.length === 0) return linux;
  const devices = list("spec: linux.devices", linux.devices);
  const resources = object("spec: linux.resources", linux.resources ?? {});
  const rules = list("spec: linux.resources.devices", resources.devices);
  const added = nodes.filter(({ path }) => !devices.some((device) => device.path === path));
  const allowed = added.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access: "rwm" }));
  return {
    ...linux,
    devices: [...devices, ...added],
    resources: { ...resources, devices: [...rules, ...allowed] },
  };
}

function checkProcess(what: string, value: unknown): Process {
  const process = object(what, value);
  const args = process.args;
  if (!Array.isArray(args) || args.length === 0 || !args.every((arg) => typeof arg === "string")) {
    throw invalidArgument(`${what}.args: must be a list of strings that names a program`);
  }
  return { ...process, args };
}

function parseObject(what: string, bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw invalidArgument(`${what}: not JSON: ${error instanceof Error ? error.message : error}`);
  }
  return object(what, value);
}

function list(what: string, value: unknown): Record<string, unknown>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalidArgument(`${what}: must be a list`);
  return value.map((one) => object(what, one));
}

function object(what: string, value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidArgument(`${what}: must be a JSON object`);
  }
  return value as Record<string, unknown>;
}
