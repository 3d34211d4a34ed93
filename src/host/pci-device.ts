import { readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { ignoring } from "../core/errors.ts";

/** Address space that a device's memory BARs take, in bytes, by the window of a bridge that they must be in. */
export interface PciWindows {
  /** 32-bit or not prefetchable: below 4 GiB. */
  readonly memory: number;
  /** 64-bit and prefetchable. */
  readonly prefetchable: number;
}

/** A PCI device of the host. */
export interface PciDevice {
  /** `0000:01:00.0` */
  readonly address: string;
  /** Vendor and device: `8086:10d3`. */
  readonly id: string;
  /** Base class, subclass and programming interface: `010802`. */
  readonly classCode: string;
  /** The driver that it is bound to. */
  readonly driver: string | undefined;
  readonly windows: PciWindows;
}

const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** Returns whether a device's name in sysfs is a PCI address. */
export const isPciAddress = (name: string): boolean => ADDRESS.test(name);

/** Flags of a resource (include/linux/ioport.h). */
const MEMORY = 0x200;
const PREFETCH = 0x2000;
const MEMORY_64 = 0x10_0000;
/** The BARs and the expansion ROM come first in the file `resource`. */
const BARS_AND_ROM = 7;

/** Reads a PCI device from sysfs. */
export async function readPciDevice(address: string, sysfs = "/sys"): Promise<PciDevice> {
  const directory = join(sysfs, "bus/pci/devices", address);
  const number = async (file: string) =>
    (await readFile(join(directory, file), "latin1")).trim().replace(/^0x/, "");
  const [vendor, device, classCode, resource, driver] = await Promise.all([
    number("vendor"),
    number("device"),
    number("class"),
    readFile(join(directory, "resource"), "latin1"),
    readlink(join(directory, "driver")).catch(ignoring("ENOENT")),
  ]);
  const id = `${vendor}:${device}`;
  return { address, id, classCode, driver: driver && basename(driver), windows: windowsOf(resource) };
}

/** Whether a driver gives devices to user space: vfio-pci, or a vendor's variant such as mlx5_vfio_pci. */
export const isVfioDriver = (driver: string | undefined): boolean =>
  /(^|[_-])vfio[_-]pci$/.test(driver ?? "");

/** Returns the largest windows that any PCI device bound to a VFIO driver needs; zeros if there are none. */
export async function largestAssignable(sysfs = "/sys"): Promise<PciWindows> {
  const drivers = join(sysfs, "bus/pci/drivers");
  const names = (await readdir(drivers).catch(ignoring("ENOENT")))?.filter(isVfioDriver) ?? [];
  const bound = await Promise.all(names.map((name) => readdir(join(drivers, name))));
  const devices = await Promise.all(
    bound
      .flat()
      .filter(isPciAddress)
      // A virtual function may be removed at any time.
      .map((address) => readPciDevice(address, sysfs).catch(ignoring("ENOENT", "ENODEV"))),
  );
  const largest = (window: keyof PciWindows) =>
    Math.max(0, ...devices.map((device) => device?.windows[window] ?? 0));
  return { memory: largest("memory"), prefetchable: largest("prefetchable") };
}

function windowsOf(resource: string): PciWindows {
  const windows = { memory: 0, prefetchable: 0 };
  for (const line of resource.split("\n").slice(0, BARS_AND_ROM)) {
    const [start = 0, end = 0, flags = 0] = line.split(" ").map(Number);
    if ((flags & MEMORY) === 0 || end <= start) continue;
    const high = (flags & PREFETCH) !== 0 && (flags & MEMORY_64) !== 0;
    windows[high ? "prefetchable" : "memory"] += end - start + 1;
  }
  return windows;
}
