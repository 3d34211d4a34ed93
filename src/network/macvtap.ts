import { randomInt } from "node:crypto";
import type { Deadline } from "../core/deadline.ts";
import { internal } from "../core/errors.ts";
import type { DeviceNumbers } from "../host/device-nodes.ts";
import { runInNetns } from "./in-netns.ts";
import type { TapPair } from "./tcfilter.ts";

/**
 * Indexes that no other interface has, most probably: the kernel names the device in the host's /dev after the index
 * (`/dev/tap7`), though indexes are each namespace's own. QEMUs that look for a tap there first must find this one or
 * none, and those of other pods, with taps of low indexes, not this one.
 */
const INDEX = { from: 1 << 24, below: 1 << 30 } as const;

/**
 * `ip` commands that lay a macvtap over each interface. Mode passthru: it has the interface's own MAC and gets every
 * unicast frame, so nothing of the interface has to be changed and restored; the kernel makes it promiscuous for as
 * long. The guest's multicast groups are not known here, so it gets all multicast frames.
 */
export function addMacvtaps(pairs: readonly TapPair[], newIndex = () => randomInt(INDEX.from, INDEX.below)) {
  return pairs.flatMap((pair) => [
    `link add link ${pair.interface} name ${pair.tap} index ${newIndex()} mtu ${pair.mtu} type macvtap mode passthru`,
    // The namespace's own stack has no business on it. All multicast before it is up: said later, the interface below
    // would be told, too, and never untold (drivers/net/macvlan.c, macvlan_stop).
    `link set dev ${pair.tap} allmulticast on addrgenmode none`,
    `link set dev ${pair.tap} up`,
  ]);
}

/** $1: what ip does; the rest: macvtaps. What /sys shows are the interfaces of the namespace that mounted it. */
const SCRIPT = `printf %s "$1" | ip -batch -
shift
mount -t sysfs sysfs /sys
for tap; do cat /sys/class/net/"$tap"/macvtap/tap*/dev; done`;

/** Makes them, and tells the numbers of their character devices, with one start of nsenter. */
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
