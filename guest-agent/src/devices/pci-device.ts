import { invalidArgument } from "../../../src/core/errors.ts";
import { readText } from "../files.ts";
import { allowing, type Sys } from "../sys.ts";

/** The parts of `sys` that read sysfs. */
export type SysfsReader = Pick<Sys, "readdir" | "readFile" | "readlink" | "lstat">;

/** A device node that the guest's kernel has for a device. */
export interface DeviceNode {
  /** In the container. */
  readonly path: string;
  readonly type: "b" | "c";
  readonly major: number;
  readonly minor: number;
}

/** A PCI device as the guest's kernel knows it. */
export interface PciDevice {
  /** Vendor and device: `8086:10d3`. */
  readonly id: string;
  /** Base class, subclass and programming interface: `010802`. */
  readonly classCode: string;
  /** What drivers match (MODALIAS): `pci:v00008086d000010D3...`. */
  readonly modalias: string;
  readonly driver: string | undefined;
  readonly nodes: readonly DeviceNode[];
  /** The name of its network interface, if it has one. */
  readonly interface: string | undefined;
}

const ROOT_BUS = "/sys/devices/pci0000:00";
const PATH = /^[0-9a-f]{2}\.[0-7](\/[0-9a-f]{2}\.[0-7]){0,3}$/;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** A namespace of an NVMe disk is three levels below it, its partitions four. */
const MAX_DEPTH = 6;
/** Directories below one device. A GPU has some hundred. */
const MAX_DIRECTORIES = 4096;

/** Throws InvalidArgument unless `path` names a PCI device by slots and functions: `05.0/00.0`. */
export function checkPciPath(path: string): void {
  if (!PATH.test(path))
    throw invalidArgument(`PCI device ${JSON.stringify(path.slice(0, 64))}: not a path of slots`);
}

/** Returns the PCI device at a path of slots, or undefined if there is none yet. */
export function pciDevice(sys: SysfsReader, path: string): PciDevice | undefined {
  let directory: string | undefined = ROOT_BUS;
  for (const place of path.split("/")) {
    directory = directory && child(sys, directory, place);
  }
  if (directory === undefined) return undefined;
  const text = (file: string) => readText(sys, `${directory}/${file}`).trim().replace(/^0x/, "");
  return {
    id: `${text("vendor")}:${text("device")}`,
    classCode: text("class"),
    modalias: text("modalias"),
    driver: linkName(sys, `${directory}/driver`),
    ...contents(sys, directory),
  };
}

/** Returns the directory of the device in a slot of a bus. Bus numbers are the kernel's choice. */
function child(sys: SysfsReader, directory: string, place: string): string | undefined {
  const name = names(sys, directory).find(
    (one) => /^[0-9a-f]{4,8}:[0-9a-f]{2}:/.test(one) && one.endsWith(`:${place}`),
  );
  return name && `${directory}/${name}`;
}

/** Collects the device nodes and interfaces below a device's directory. */
function contents(sys: SysfsReader, top: string): Pick<PciDevice, "nodes" | "interface"> {
  const nodes: DeviceNode[] = [];
  let network: string | undefined;
  const pending = [{ directory: top, depth: 0 }];
  for (let count = 0; count < MAX_DIRECTORIES; count++) {
    const next = pending.pop();
    if (!next) break;
    const { directory, depth } = next;
    const subsystem = linkName(sys, `${directory}/subsystem`);
    if (subsystem === "net") network ??= directory.slice(directory.lastIndexOf("/") + 1);
    const node = nodeOf(sys, directory, subsystem === "block" ? "b" : "c");
    if (node) nodes.push(node);
    if (depth === MAX_DEPTH) continue;
    for (const name of names(sys, directory)) {
      const path = `${directory}/${name}`;
      if (isDirectory(sys, path)) pending.push({ directory: path, depth: depth + 1 });
    }
  }
  return { nodes: nodes.sort((a, b) => (a.path < b.path ? -1 : 1)), interface: network };
}

function nodeOf(sys: SysfsReader, directory: string, type: DeviceNode["type"]): DeviceNode | undefined {
  let uevent = "";
  allowing(["ENOENT", "ENODEV"], () => {
    uevent = readText(sys, `${directory}/uevent`);
  });
  const value = (name: string) => new RegExp(`^${name}=(.+)$`, "m").exec(uevent)?.[1];
  const name = value("DEVNAME");
  const [major, minor] = [Number(value("MAJOR")), Number(value("MINOR"))];
  if (name === undefined || !Number.isInteger(major) || !Number.isInteger(minor)) return undefined;
  return { path: `/dev/${name}`, type, major, minor };
}

function names(sys: SysfsReader, directory: string): string[] {
  let found: string[] = [];
  allowing(["ENOENT"], () => {
    found = sys.readdir(directory);
  });
  return found;
}

function isDirectory(sys: SysfsReader, path: string): boolean {
  let directory = false;
  allowing(["ENOENT"], () => {
    directory = (sys.lstat(path).mode & S_IFMT) === S_IFDIR;
  });
  return directory;
}

function linkName(sys: SysfsReader, path: string): string | undefined {
  let target: string | undefined;
  allowing(["ENOENT", "EINVAL"], () => {
    target = sys.readlink(path);
  });
  return target?.slice(target.lastIndexOf("/") + 1);
}
