import { readFile } from "node:fs/promises";
import { HullError, invalidArgument } from "../core/errors.ts";

/**
 * The parts of an OCI runtime spec (`config.json`, opencontainers/runtime-spec config.md) that hull reads.
 * Everything else is passed to the guest's runtime unchanged.
 */
export interface OciSpec {
  readonly ociVersion?: string;
  readonly hostname?: string;
  readonly root?: { readonly path: string; readonly readonly?: boolean };
  readonly process?: OciProcess;
  readonly mounts?: readonly OciMount[];
  readonly hooks?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux?: OciLinux;
}

interface OciProcess {
  readonly terminal?: boolean;
  readonly args?: readonly string[];
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
}

/** A mount of the container, at the absolute path `destination`. */
export interface OciMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
}

/** A namespace of the container: a new one, or an existing one at `path`. */
export interface OciNamespace {
  readonly type: string;
  readonly path?: string;
}

/** A device node to create in the container. */
export interface OciDevice {
  readonly path: string;
  /** `b`, `c`, `u` or `p` (mknod(1)). */
  readonly type: string;
  readonly major?: number;
  readonly minor?: number;
}

/** A rule of the device cgroup. */
export interface OciDeviceRule {
  readonly allow: boolean;
  readonly type?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly access?: string;
}

/** The container's limits. A null value means the same as an absent one. */
export interface OciResources {
  readonly devices?: readonly OciDeviceRule[];
  readonly memory?: OciMemory;
  readonly cpu?: OciCpu;
  readonly [other: string]: unknown;
}

/** Memory limits of the container. */
export interface OciMemory {
  /** Bytes; -1 = unlimited. */
  readonly limit?: number;
  readonly [other: string]: unknown;
}

/** CPU limits of the container. */
export interface OciCpu {
  readonly shares?: number;
  /** Microseconds in each `period`; negative = unlimited. */
  readonly quota?: number;
  readonly period?: number;
  /** Lists of CPUs and memory nodes of the host: `0-3,8`. */
  readonly cpus?: string;
  readonly mems?: string;
  readonly [other: string]: unknown;
}

interface OciLinux {
  readonly namespaces?: readonly OciNamespace[];
  readonly cgroupsPath?: string;
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly resources?: OciResources;
  readonly devices?: readonly OciDevice[];
  readonly mountLabel?: string;
  readonly intelRdt?: unknown;
}

const SPEC_LIMIT = 8 * 1024 * 1024;

/**
 * Reads and validates `<bundle>/config.json`. Throws NotFound or InvalidArgument with the path and the
 * reason.
 */
export async function readSpec(bundle: string): Promise<OciSpec> {
  const path = `${bundle}/config.json`;
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw HullError.ofCallersPath("bundle: cannot read the OCI spec", error);
  });
  if (text.length > SPEC_LIMIT) throw invalidArgument(`${path}: larger than ${SPEC_LIMIT} bytes`);
  return parseSpec(text, path);
}

/**
 * Parses an OCI spec and validates the fields that hull uses. `path` is for messages. Throws InvalidArgument.
 */
export function parseSpec(text: string, path: string): OciSpec {
  const fail = (rule: string): never => {
    throw invalidArgument(`${path}: not a usable OCI runtime spec: ${rule}`);
  };
  let spec: unknown;
  try {
    spec = JSON.parse(text);
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  if (!isObject(spec)) return fail("not a JSON object");
  if (!isObject(spec.process)) fail("`process` is missing");
  const process = spec.process as Record<string, unknown>;
  if (!isArrayOf(process.args, isString) || process.args.length === 0)
    fail("`process.args` must be a list of strings with at least one entry");
  if (spec.root !== undefined && !(isObject(spec.root) && isString(spec.root.path)))
    fail("`root.path` must be a string");
  if (!isOptional(spec.hostname, isString)) fail("`hostname` must be a string");
  if (spec.mounts !== undefined && !isArrayOf(spec.mounts, isMount))
    fail("`mounts` must be a list of mounts, each with an absolute `destination`");
  if (spec.annotations !== undefined && !isMapOfStrings(spec.annotations))
    fail("`annotations` must map strings to strings");
  const linux = spec.linux;
  if (linux !== undefined) {
    if (!isObject(linux)) return fail("`linux` must be an object");
    if (linux.namespaces !== undefined && !isArrayOf(linux.namespaces, isNamespace))
      fail("`linux.namespaces` must be a list of objects with a `type`");
    if (linux.devices !== undefined && !isArrayOf(linux.devices, isDevice))
      fail("`linux.devices` must be a list of devices, each with a `path`, a `type` and its numbers");
    if (!isOptional(linux.cgroupsPath, isString)) fail("`linux.cgroupsPath` must be a string");
    if (!isOptional(linux.sysctl, isMapOfStrings)) fail("`linux.sysctl` must map strings to strings");
    checkResources(linux.resources, fail);
  }
  return spec as OciSpec;
}

/**
 * Validates the resources of an update like those of a spec. `what` is for messages. Throws InvalidArgument.
 */
export function parseResources(value: Record<string, unknown>, what: string): OciResources {
  checkResources(value, (rule) => {
    throw invalidArgument(`${what}: ${rule}`);
  });
  return value as OciResources;
}

/** A null value counts as absent. */
function checkResources(resources: unknown, fail: (rule: string) => never): void {
  if (!isOptional(resources, isObject)) fail("`linux.resources` must be an object");
  const { devices, memory, cpu } = (resources ?? {}) as Record<string, unknown>;
  if (!isOptional(devices, (list) => isArrayOf(list, isDeviceRule)))
    fail("`linux.resources.devices` must be a list of rules");
  if (!isOptional(memory, isObject) || !isOptional(memory?.limit, isNumber))
    fail("`linux.resources.memory` must be an object whose `limit` is a number");
  if (
    !isOptional(cpu, isObject) ||
    ![cpu?.shares, cpu?.quota, cpu?.period].every((value) => isOptional(value, isNumber)) ||
    ![cpu?.cpus, cpu?.mems].every((value) => isOptional(value, isString))
  )
    fail("`linux.resources.cpu` must be an object of numbers, and of lists of CPUs and memory nodes");
}

function isOptional<T>(
  value: unknown,
  is: ((value: unknown) => value is T) | ((value: unknown) => boolean),
): value is T | null | undefined {
  return value === undefined || value === null || is(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isMapOfStrings(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every(isString);
}

function isDeviceRule(value: unknown): value is OciDeviceRule {
  return (
    isObject(value) &&
    isOptional(value.access, isString) &&
    isOptional(value.major, isNumber) &&
    isOptional(value.minor, isNumber)
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isArrayOf<T>(value: unknown, isElement: (element: unknown) => element is T): value is T[] {
  return Array.isArray(value) && value.every(isElement);
}

function isMount(value: unknown): value is OciMount {
  return (
    isObject(value) &&
    isString(value.destination) &&
    value.destination.startsWith("/") &&
    (value.type === undefined || isString(value.type)) &&
    (value.source === undefined || isString(value.source)) &&
    (value.options === undefined || isArrayOf(value.options, isString))
  );
}

function isDevice(value: unknown): value is OciDevice {
  const isNumber = (number: unknown) => number === undefined || Number.isInteger(number);
  return (
    isObject(value) &&
    isString(value.path) &&
    isString(value.type) &&
    isNumber(value.major) &&
    isNumber(value.minor)
  );
}

function isNamespace(value: unknown): value is OciNamespace {
  return isObject(value) && isString(value.type) && (value.path === undefined || isString(value.path));
}
