import { readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, ignoring, invalidArgument } from "../core/errors.ts";
import type { Resource } from "../core/ledger.ts";
import { requireFree } from "../host/iommu-group.ts";
import { isPciAddress, isVfioDriver, readPciDevice } from "../host/pci-device.ts";
import { run } from "../host/run.ts";
import { isNamespace } from "./in-netns.ts";

/** A network adapter that was taken from its driver: its interface is to come back as it was. */
export type TakenNic = Extract<Resource, { kind: "nic" }>;

const DEVICES = "/sys/bus/pci/devices";
const TAP_ADVICE = "or set runtime.physical_nics: tap, which connects the interface to the VM by a tap";

/**
 * $1: PCI address. The override makes the kernel choose vfio-pci, and no other driver if that is missing
 * (Documentation/ABI/testing/sysfs-bus-pci).
 */
const TAKE = `
device=${DEVICES}/$1
[ -d /sys/bus/pci/drivers/vfio-pci ] || modprobe vfio-pci
echo vfio-pci > "$device/driver_override"
[ ! -e "$device/driver" ] || echo "$1" > "$device/driver/unbind"
echo "$1" > /sys/bus/pci/drivers_probe
`;

/**
 * $1: PCI address, $2: the namespace or nothing, $3: name, $4: MAC, $5: MTU, $6: alias. The kernel creates the interface in the
 * host's namespace, where udev may rename it at any time, so that it is named by its index until it has left.
 */
const GIVE_BACK = `
device=${DEVICES}/$1
echo > "$device/driver_override"
driver=$(readlink "$device/driver" || true)
case $driver in *vfio*) echo "$1" > "$device/driver/unbind";; esac
[ -e "$device/driver" ] || echo "$1" > /sys/bus/pci/drivers_probe
[ -n "$2" ] || exit 0
if ! nsenter --net="$2" -- ip link show dev "$3" >/dev/null 2>&1; then
  index=$(cat "$device"/net/*/ifindex "$device"/virtio*/net/*/ifindex 2>/dev/null | head -n 1)
  [ -n "$index" ] || { echo "the host has no driver that creates its interface" >&2; exit 1; }
  ip link set dev "if$index" down
  ip link set dev "if$index" netns "$2" name "$3"
fi
nsenter --net="$2" -- ip link set dev "$3" mtu "$5" alias "$6"
nsenter --net="$2" -- ip link show dev "$3" | grep -qi "link/ether $4" ||
  nsenter --net="$2" -- ip link set dev "$3" address "$4"
nsenter --net="$2" -- ip link set dev "$3" up
`;

/**
 * Takes an adapter, which must be recorded, from its driver and binds it to vfio-pci. Throws FailedPrecondition, with the
 * remedy, if the host cannot assign it.
 */
export async function take({ address, name }: TakenNic, deadline: Deadline): Promise<void> {
  const subject = `interface ${name}: PCI device ${address}`;
  if ((await groupOf(address)) === undefined) {
    throw failedPrecondition(
      `${subject}: the host's IOMMU is off, and without it no device can be assigned; enable VT-d or AMD-Vi in the ` +
        `firmware and, on Intel, add intel_iommu=on to the kernel command line, ${TAP_ADVICE}`,
    );
  }
  await run(["sh", "-ec", TAKE, "sh", address], deadline).catch((error: unknown) => {
    throw HullError.wrap(`${subject}: bind it to vfio-pci`, error, "FailedPrecondition");
  });
  const { driver } = await readPciDevice(address);
  if (!isVfioDriver(driver)) {
    throw failedPrecondition(
      `${subject}: vfio-pci does not accept it (dmesg says why); choose another device, ${TAP_ADVICE}`,
    );
  }
}

/**
 * Binds an adapter to the host's driver for it and moves its interface back into the pod's namespace, where CNI expects it.
 * What is gone (a virtual function, the namespace) is not missed. Idempotent.
 */
export async function giveBack(nic: TakenNic, deadline: Deadline): Promise<void> {
  const { address, netns, name, mac = "", mtu, alias = "" } = nic;
  const subject = `interface ${name}: PCI device ${address}: give it back to the host`;
  // A damaged record must not name other files.
  if (!isPciAddress(address)) throw invalidArgument(`${subject}: it is not a PCI address`);
  const device = await readPciDevice(address).catch(ignoring("ENOENT"));
  if (!device) return;
  try {
    const group = await groupOf(address);
    // The kernel would make the script wait until the VMM has closed it.
    if (isVfioDriver(device.driver) && group !== undefined)
      await deadline.race(requireFree({ number: group, node: `/dev/vfio/${group}`, devices: [] }));
    const where = (await isNamespace(netns)) ? netns : "";
    await run(
      ["sh", "-ec", GIVE_BACK, "sh", address, where, name, mac, String(mtu ?? 1500), alias],
      deadline,
    );
  } catch (error) {
    throw HullError.wrap(subject, error);
  }
}

/** Returns the number of a PCI device's IOMMU group; undefined without an IOMMU. */
export async function groupOf(address: string): Promise<number | undefined> {
  const link = await readlink(join(DEVICES, address, "iommu_group")).catch(ignoring("ENOENT"));
  return link === undefined ? undefined : Number(basename(link));
}
