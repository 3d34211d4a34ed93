import type { Reach } from "../host/reach.ts";
import type { HotplugDevice, VmSpec } from "./hypervisor.ts";

/** The machine with every path as the VMM's user comes to it. `at` of the reach answers for what is plugged in later. */
export async function reachedSpec(spec: VmSpec, reach: Reach): Promise<VmSpec> {
  await reach.addFolder(spec.directory);
  const { vsock } = spec;
  return {
    ...spec,
    kernel: await reach.addFile(spec.kernel),
    initrd: await reach.addFile(spec.initrd),
    vsock: vsock && "socket" in vsock ? { ...vsock, socket: reach.at(vsock.socket) } : vsock,
    shares: spec.shares.map((share) => reachedDevice(share, reach)),
    disks: spec.disks.map((disk) => reachedDevice(disk, reach)),
  };
}

/** A device with the path of its back end as the VMM's user comes to it. */
export function reachedDevice<D extends HotplugDevice>(device: D, reach: Pick<Reach, "at">): D {
  if (device.kind === "disk") return { ...device, path: reach.at(device.path) };
  return "socket" in device ? { ...device, socket: reach.at(device.socket) } : device;
}
