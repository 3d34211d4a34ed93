import { randomInt } from "node:crypto";
import type { Deadline } from "../core/deadline.ts";
import { internal } from "../core/errors.ts";
import type { DeviceNumbers } from "../host/device-nodes.ts";
import { runInNetns } from "./in-netns.ts";
import type { TapPair } from "./tcfilter.ts";

/**
 * Interface indexes that are very probably unique on the host: the kernel names the device in the host's /dev
 * after the index (`/dev/tap7`), but indexes are per namespace. QEMU looks there first, and must find this
 * tap or none; QEMUs of other pods, whose taps have low indexes, must not find this one.
 */
const INDEX = { from: 1 << 24, below: 1 << 30 } as const;

/**
 * `ip` commands that create a macvtap on each interface. In mode passthru it has the interface's own MAC and
 * gets every unicast frame, so nothing on the interface has to be changed and restored; the kernel makes it
 * promiscuous meanwhile. The guest's multicast groups are not known here, so it gets all multicast frames.
 */
export function addMacvtaps(pairs: readonly TapPair[], newIndex = () => randomInt(INDEX.from, INDEX.below)) {
  return pairs.flatMap((pair) => [
    `link add link ${pair.interface} name ${pair.tap} index ${newIndex()} mtu ${pair.mtu} type macvtap mode passthru`,
    // Without addresses, so that the namespace's own stack does not use it. allmulticast is set before it is
    // up, because the kernel would otherwise set it on the lower interface and never clear it
    // (drivers/net/macvlan.c, macvlan_stop).
    `link set dev ${pair.tap} allmulticast on addrgenmode none`,
    `link set dev ${pair.tap} up`,
  ]);
}

/**
 * $1: the ip batch; the rest: macvtaps. /sys shows the interfaces of the namespace in which it is mounted.
 */
const SCRIPT = `printf %s "$1" | ip -batch -
shift
mount -t sysfs sysfs /sys
for tap; do cat /sys/class/net/"$tap"/macvtap/tap*/dev; done`;

/**
 * Creates macvtaps with one start of nsenter. Returns the numbers of their character devices, in the order of
 * `pairs`.
 */
export async function makeMacvtaps(
  netns: string,
  pairs: readonly TapPair[],
  deadline: Deadline,
): Promise<DeviceNumbers[]> {
  const batch = addMacvtaps(pairs).map((line) => `${line}\n`);
  const argv = ["unshare", "--mount", "sh", "-ec", SCRIPT, "sh", batch.join("")] as const;
  const output = await runInNetns(netns, [...argv, ...pairs.map(({ tap }) => tap)], deadline);
  const devices = [...output.matchAll(/^(\d+):(\d+)$/gm)].map(([, major, minor]) => ({
    major: Number(major),
    minor: Number(minor),
  }));
  if (devices.length !== pairs.length) throw internal(`macvtap devices not found: ${output.trim()}`);
  return devices;
}
