import type { PathAccess } from "../host/path-access.ts";
import type { HotplugDevice, VmSpec } from "./hypervisor.ts";

/** The spec with paths that the VMM's user can open. For devices hot-plugged later, use `accessibleDevice`. */
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

/** The device with a path to its backend that the VMM's user can open. */
export function accessibleDevice<D extends HotplugDevice>(device: D, access: Pick<PathAccess, "at">): D {
  if (device.kind === "disk") return { ...device, path: access.at(device.path) };
  return "socket" in device ? { ...device, socket: access.at(device.socket) } : device;
}
