import type { GuestBlockDevice } from "../agent/guest-agent.ts";
import { invalidArgument } from "../core/errors.ts";
import type { OciSpec } from "./spec.ts";

/** Character devices with the same numbers in every Linux kernel (kernel documentation, devices.txt). */
const SAME_EVERYWHERE = new Set(["1:3", "1:5", "1:7", "1:8", "1:9", "1:11", "5:0", "5:1", "5:2", "10:229"]);

/** A block device of the host to hot-plug into the VM for a container. */
export interface WantedDisk extends Omit<GuestBlockDevice, "serial"> {
  /** Device numbers on the host. */
  readonly major: number;
  readonly minor: number;
}

interface GuestDevices {
  /** The spec without the device rules that name block devices of the host. */
  readonly spec: OciSpec;
  readonly disks: readonly WantedDisk[];
}

/**
 * Sorts `linux.devices` for a VM: block devices are hot-plugged, the kernel's own devices exist in the guest.
 * Throws InvalidArgument for all others, because their numbers would mean something else there.
 */
export function guestDevices(spec: OciSpec): GuestDevices {
  const devices = spec.linux?.devices ?? [];
  if (devices.length === 0) return { spec, disks: [] };
  const rules = spec.linux?.resources?.devices ?? [];
  const ruleOf = new Map(
    rules
      .filter(({ allow, type }) => allow && type === "b")
      .reverse() // the first rule of a device wins
      .map((rule) => [`${rule.major}:${rule.minor}`, rule]),
  );
  const blocks = devices.filter(({ type }) => type === "b");
  for (const device of devices) {
    if (device.type === "p" || device.type === "b") continue;
    if (SAME_EVERYWHERE.has(`${device.major}:${device.minor}`)) continue;
    throw invalidArgument(
      `device ${device.path} (${device.type} ${device.major}:${device.minor}): a device of the host cannot ` +
        "be used in a VM unless it is a block device; leave it out, set privileged_without_host_devices " +
        "for privileged pods, or run this pod with runc",
    );
  }
  const disks = blocks.map((device) => {
    const { path, major = 0, minor = 0 } = device;
    const rule = ruleOf.get(`${major}:${minor}`);
    const access: GuestBlockDevice["access"] = rule?.access && !rule.access.includes("w") ? "r" : "rw";
    return { path, major, minor, access };
  });
  const kept = rules.filter(({ allow, type }) => !(allow && type === "b"));
  const resources = { ...spec.linux?.resources, devices: kept };
  return { spec: { ...spec, linux: { ...spec.linux, resources } }, disks };
}
