import type { GuestBlockDevice, GuestOwnDevice } from "../agent/guest-agent.ts";
import { invalidArgument } from "../core/errors.ts";
import type { OciDevice, OciDeviceRule, OciSpec } from "./spec.ts";

/** Character devices with the same numbers in every Linux kernel (kernel documentation, devices.txt). */
const SAME_EVERYWHERE = new Set(["1:3", "1:5", "1:7", "1:8", "1:9", "1:11", "5:0", "5:1", "5:2", "10:229"]);

/** The device that opens VFIO containers. A program that uses /dev/vfio/N needs it, too; a VM does not. */
const VFIO_CONTAINER = "10:196";
const VFIO_GROUP = /^\/dev\/vfio\/\d+$/;
const VFIO_OTHER = /^\/dev\/(vfio\/.+|iommu)$/;

/** A device of the host, by its numbers there. */
interface HostNumbers {
  readonly major: number;
  readonly minor: number;
}

/** A block device of the host to hot-plug into the VM for a container. */
export interface WantedDisk extends Omit<GuestBlockDevice, "serial">, HostNumbers {}

/** A VFIO group of the host (`/dev/vfio/N`), whose PCI devices are to be assigned to the VM for a container. */
export interface WantedGroup extends HostNumbers {
  /** The device node's path in the container. */
  readonly path: string;
}

/** Character devices that a kernel has without hardware. Their numbers are fixed, except for those of vsock. */
const OWN: Readonly<Record<string, string>> = { "10:200": "net/tun", "10:232": "kvm" };
const ownName = (device: OciDevice) => (device.path === "/dev/vsock" ? "vsock" : OWN[numbers(device)]);

interface GuestDevices {
  /** The spec without VFIO devices, without the guest's own, and without the device rules that name devices of the host. */
  readonly spec: OciSpec;
  readonly disks: readonly WantedDisk[];
  readonly groups: readonly WantedGroup[];
  readonly ownDevices: readonly GuestOwnDevice[];
}

/**
 * Sorts `linux.devices` for a VM: block devices are hot-plugged, VFIO groups are assigned, the kernel's own devices exist
 * in the guest. Throws InvalidArgument for all others, because their numbers would mean something else there.
 */
export function guestDevices(spec: OciSpec): GuestDevices {
  const devices = spec.linux?.devices ?? [];
  if (devices.length === 0) return { spec, disks: [], groups: [], ownDevices: [] };
  const rules = spec.linux?.resources?.devices ?? [];
  const ruleOf = new Map(
    rules
      .filter(({ allow, type }) => allow && type === "b")
      .reverse() // the first rule of a device wins
      .map((rule) => [numbers(rule), rule]),
  );
  const groups: WantedGroup[] = [];
  const ownDevices: GuestOwnDevice[] = [];
  const dropped = new Set<string>();
  for (const device of devices) {
    if (device.type === "p" || device.type === "b" || SAME_EVERYWHERE.has(numbers(device))) continue;
    const { path, major = 0, minor = 0 } = device;
    const name = ownName(device);
    if (name !== undefined) ownDevices.push({ path, name });
    else if (!VFIO_GROUP.test(path) && numbers(device) !== VFIO_CONTAINER) throw refusal(device);
    if (VFIO_GROUP.test(path) && !dropped.has(numbers(device))) groups.push({ path, major, minor });
    dropped.add(numbers(device));
  }
  const disks = devices
    .filter(({ type }) => type === "b")
    .map(({ path, major = 0, minor = 0 }) => {
      const rule = ruleOf.get(`${major}:${minor}`);
      const access: GuestBlockDevice["access"] = rule?.access && !rule.access.includes("w") ? "r" : "rw";
      return { path, major, minor, access };
    });
  const kept = rules.filter(
    (rule) => !(rule.allow && (rule.type === "b" || (rule.type === "c" && dropped.has(numbers(rule))))),
  );
  const resources = { ...spec.linux?.resources, devices: kept };
  const inGuest = devices.filter((device) => device.type === "b" || !dropped.has(numbers(device)));
  return {
    spec: { ...spec, linux: { ...spec.linux, devices: inGuest, resources } },
    disks,
    groups,
    ownDevices,
  };
}

const numbers = ({ major, minor }: OciDevice | OciDeviceRule) => `${major}:${minor}`;

function refusal(device: OciDevice): Error {
  const { path, type } = device;
  const subject = `device ${path} (${type} ${numbers(device)})`;
  if (VFIO_OTHER.test(path)) {
    return invalidArgument(
      `${subject}: host devices are assigned by their IOMMU group only; ` +
        "pass /dev/vfio/<group> (/sys/bus/pci/devices/<address>/iommu_group) instead",
    );
  }
  return invalidArgument(
    `${subject}: a device of the host cannot be used in a VM unless it is a block device or a VFIO group; ` +
      "leave it out, assign the PCI device behind it (docs/how-to/assign-devices.md), set " +
      "privileged_without_host_devices for privileged pods, or run this pod with runc",
  );
}
