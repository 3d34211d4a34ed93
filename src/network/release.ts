import type { Deadline } from "../core/deadline.ts";
import type { Resource } from "../core/ledger.ts";
import { isNamespace, runInNetns } from "./in-netns.ts";

type NetworkResource = Extract<Resource, { kind: "tap" | "qdisc" }>;

/**
 * Removes recorded taps and ingress qdiscs. It is not an error if they, or the whole namespace, are gone. A
 * namespace without any of the taps is left alone, because its path may be another namespace's by now.
 */
export async function releaseNetwork(
  resources: readonly NetworkResource[],
  deadline: Deadline,
): Promise<void> {
  for (const netns of new Set(resources.map((resource) => resource.netns))) {
    if (!(await isNamespace(netns))) continue;
    const here = resources.filter((resource) => resource.netns === netns);
    // A damaged ledger may list some twice: those that were also found by name.
    const taps = [...new Set(here.flatMap((one) => (one.kind === "tap" ? [one.name] : [])))];
    const devices = here.flatMap((one) => (one.kind === "qdisc" ? [one.device] : []));
    await runInNetns(netns, ["sh", "-c", SCRIPT, "sh", taps.join(" "), devices.join(" ")], deadline);
  }
}

/** Arguments: taps, devices with an ingress qdisc. Succeeds if no tap is left. */
const SCRIPT = `
ours=
for tap in $1; do ip link show dev "$tap" >/dev/null 2>&1 && ours="$ours $tap"; done
[ -n "$ours" ] || exit 0
for device in $2; do tc qdisc del dev "$device" ingress 2>/dev/null; done
status=0
for tap in $ours; do ip link del dev "$tap" || status=1; done
exit $status
`;
