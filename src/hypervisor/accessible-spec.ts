import type { PathAccess } from "../host/path-access.ts";
import type { HotplugDevice, VmSpec } from "./hypervisor.ts";

/** The machine with every path as the VMM's user comes to it. `access.at` gives the path of what is plugged in later. */
export async function accessibleSpec(spec: VmSpec, access: PathAccess): Promise<VmSpec> {
  await access.addDirectory(spec.directory);
  const { vsock } = spec;
  return {
    ...spec,
    kernel: await access.addFile(spec.kernel),
    initrd: await access.addFile(spec.initrd),
    vsock: vsock && "socket" in vsock ? { ...vsock, socket: access.at(vsock.socket) } : vsock,
    shares: spec.shares.map((share) => accessibleDevice(share, access)),
    disks: spec.disks.map((disk) => accessibleDevice(disk, access)),
  };
}

/** A device with the path of its back end as the VMM's user comes to it. */
export function accessibleDevice<D extends HotplugDevice>(device: D, access: Pick<PathAccess, "at">): D {
  if (device.kind === "disk") return { ...device, path: access.at(device.path) };
  return "socket" in device ? { ...device, socket: access.at(device.socket) } : device;
}
