import { open, readdir, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { failedPrecondition, HullError, ignoring } from "../core/errors.ts";
import type { DeviceNumbers } from "./device-nodes.ts";
import { isPciAddress, isVfioDriver, type PciDevice, readPciDevice } from "./pci-device.ts";

/** An IOMMU group of the host: the devices that can only be assigned together. */
export interface IommuGroup {
  readonly number: number;
  /** The host's device node of the group. */
  readonly node: string;
  /** The devices to assign: those bound to a VFIO driver. */
  readonly devices: readonly PciDevice[];
}

/** PCI-to-PCI bridges stay with the host; the kernel does not count them (drivers/vfio, vfio_dev_viable). */
const BRIDGE = /^0604/;
/** Drivers that do nothing with a device, so that the rest of its group can be assigned. */
const IDLE_DRIVERS = new Set([undefined, "pci-stub", "pcieport"]);

/** A device node of a VFIO group, as a container's spec names it. */
interface GroupNode extends DeviceNumbers {
  readonly path: string;
}

/**
 * Returns the IOMMU group of a VFIO device node, by its numbers. Throws FailedPrecondition, with the remedy, unless all of
 * its devices can be assigned.
 */
export async function iommuGroup(node: GroupNode, sysfs = "/sys"): Promise<IommuGroup> {
  const number = await groupNumber(node, sysfs);
  const subject = `device ${node.path}: IOMMU group ${number}`;
  const members = await readdir(join(sysfs, "kernel/iommu_groups", String(number), "devices")).catch(
    ignoring("ENOENT"),
  );
  if (!members) {
    const groups = await readdir(join(sysfs, "kernel/iommu_groups")).catch(ignoring("ENOENT"));
    throw failedPrecondition(
      groups?.length
        ? `${subject} does not exist; the device may have been removed`
        : "the host's IOMMU is off, and without it no device can be assigned; enable VT-d or AMD-Vi in the " +
            "firmware and, on Intel, add intel_iommu=on to the kernel command line",
    );
  }
  const foreign = members.find((name) => !isPciAddress(name));
  if (foreign !== undefined)
    throw failedPrecondition(`${subject}: ${foreign} is not a PCI device; only PCI devices can be assigned`);
  const all = await Promise.all(members.sort().map((address) => readPciDevice(address, sysfs))).catch(
    (error: unknown) => {
      throw HullError.wrap(subject, error, "FailedPrecondition");
    },
  );
  const devices = all.filter(({ classCode }) => !BRIDGE.test(classCode));
  const used = devices.find(({ driver }) => !isVfioDriver(driver) && !IDLE_DRIVERS.has(driver));
  if (used) {
    throw failedPrecondition(
      `${subject}: ${used.address} (${used.id}) is bound to ${used.driver}, and a group can only be assigned ` +
        `as a whole; ${bindAdvice(used)}`,
    );
  }
  const assignable = devices.filter(({ driver }) => isVfioDriver(driver));
  if (assignable.length === 0) {
    const [first] = devices;
    throw failedPrecondition(
      `${subject}: none of its devices is bound to vfio-pci${first ? `; ${bindAdvice(first)}` : ""}`,
    );
  }
  return { number, node: `/dev/vfio/${number}`, devices: assignable };
}

/** Throws FailedPrecondition if another process has opened the group, which the kernel allows only once. */
export async function requireFree({ node, number }: IommuGroup): Promise<void> {
  try {
    await (await open(node, "r+")).close();
  } catch (error) {
    const busy = (error as NodeJS.ErrnoException).code === "EBUSY";
    throw busy
      ? failedPrecondition(
          `device ${node}: IOMMU group ${number} is in use by another process, perhaps another pod's VMM; ` +
            "stop that first (grep -l vfio /run/hull/*/*/state.json names pods)",
        )
      : HullError.wrap(`device ${node}`, error, "FailedPrecondition");
  }
}

async function groupNumber({ path, major, minor }: GroupNode, sysfs: string): Promise<number> {
  const link = await readlink(join(sysfs, "dev/char", `${major}:${minor}`)).catch(ignoring("ENOENT"));
  const name = link?.includes("/vfio/") ? basename(link) : "";
  if (/^\d+$/.test(name)) return Number(name);
  throw failedPrecondition(
    name.startsWith("noiommu-")
      ? `device ${path}: the host has no IOMMU for it (${name}), so it could write to all of the host's memory; ` +
          "enable the IOMMU"
      : `device ${path} (c ${major}:${minor}): not a VFIO group of this host; load the module vfio-pci and bind ` +
          "the device to it",
  );
}

const bindAdvice = ({ address }: PciDevice) =>
  `bind it to vfio-pci (driverctl set-override ${address} vfio-pci)`;
