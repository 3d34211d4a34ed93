import { readdir } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import type { Resource } from "../core/ledger.ts";
import { runInNetns } from "./in-netns.ts";
import { tapPrefix } from "./pod-network.ts";

/** Where CNI plugins and ip-netns(8) keep network namespaces. */
const NAMED = "/run/netns";

/** A pod's taps in the host's named network namespaces, for a pod of which no record says where they are. */
export async function findTaps(
  pod: string,
  deadline: Deadline,
): Promise<Extract<Resource, { kind: "tap" }>[]> {
  const names = await readdir(NAMED).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const found = await Promise.all(
    names.map(async (name) => {
      const netns = `${NAMED}/${name}`;
      // One that goes away meanwhile, or a name without a namespace, has no tap.
      const links = await runInNetns(netns, ["cat", "/proc/net/dev"], deadline).catch(() => "");
      return [...links.matchAll(/^ *([^ :]+):/gm)]
        .map(([, link = ""]) => link)
        .filter((link) => link.startsWith(tapPrefix(pod)))
        .map((tap) => ({ kind: "tap", netns, name: tap }) as const);
    }),
  );
  return found.flat();
}
