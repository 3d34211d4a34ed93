import { readdir, readlink } from "node:fs/promises";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { Resource } from "../core/ledger.ts";
import { readMountInfo } from "../host/mountinfo.ts";
import { isNamespace, runInNetns } from "./in-netns.ts";
import { tapPrefix } from "./pod-network.ts";
import { releaseNetwork } from "./release.ts";

type NetworkResource = Extract<Resource, { kind: "tap" | "qdisc" }>;
type UnreadNamespace = Extract<Resource, { kind: "netns" }>;

/** How long looking for taps may take; releasing them takes time, too. */
const FIND_LIMIT_MS = 1_500;

/**
 * Finds the taps of a pod without a ledger, and the interfaces whose traffic is mirrored to them: in every
 * network namespace of the host that has a name (CNI's, ip-netns(8)'s, Docker's) or a process. Namespaces
 * that cannot be read in time are in the result, too. `leaving`: processes that are about to exit, whose
 * /proc entries are not used.
 */
export async function findTaps(
  pod: string,
  leaving: readonly number[],
  deadline: Deadline,
): Promise<(NetworkResource | UnreadNamespace)[]> {
  const namespaces = await networkNamespaces(leaving);
  const limit = deadline.shorter(FIND_LIMIT_MS, `find the taps of pod ${pod}`);
  const found = namespaces.map((path) =>
    tapsIn(path, pod, limit).catch((): UnreadNamespace[] => [{ kind: "netns", path }]),
  );
  return (await Promise.all(found).finally(() => limit.dispose())).flat();
}

/** Releases a pod's taps in namespaces that could not be read before. Rejects if one still cannot be read. */
export async function releaseUnread(
  pod: string,
  namespaces: readonly UnreadNamespace[],
  deadline: Deadline,
): Promise<void> {
  const released = namespaces.map(async ({ path }) =>
    releaseNetwork(await tapsIn(path, pod, deadline), deadline),
  );
  await allSettled(released);
}

/** Returns a path for each network namespace except this process's own. */
async function networkNamespaces(leaving: readonly number[]): Promise<string[]> {
  const paths = new Map<string, string>();
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || leaving.includes(Number(pid))) continue;
    const path = `/proc/${pid}/ns/net`;
    const name = await readlink(path).catch(() => undefined); // the process has exited
    if (name !== undefined) paths.set(name, path);
  }
  // Prefer the path by name, if there is one: it exists as long as the namespace.
  for (const { type, root, target } of await readMountInfo())
    if (type === "nsfs" && root.startsWith("net:")) paths.set(root, target);
  paths.delete(await readlink("/proc/self/ns/net"));
  return [...paths.values()];
}

async function tapsIn(netns: string, pod: string, deadline: Deadline): Promise<NetworkResource[]> {
  try {
    return await readTaps(netns, tapPrefix(pod), deadline);
  } catch (error) {
    if (!(await isNamespace(netns))) return []; // it is gone, with everything in it
    throw HullError.wrap(`network namespace ${netns}: look for taps of pod ${pod}`, error);
  }
}

async function readTaps(netns: string, prefix: string, deadline: Deadline): Promise<NetworkResource[]> {
  const table = await runInNetns(netns, ["cat", "/proc/net/dev"], deadline);
  const links = [...table.matchAll(/^ *([^ :]+):/gm)].map(([, link = ""]) => link);
  const taps = links.filter((link) => link.startsWith(prefix));
  if (taps.length === 0) return [];
  const others = links.filter((link) => !taps.includes(link));
  const mirrored = await runInNetns(netns, ["sh", "-c", MIRRORED, "sh", prefix, ...others], deadline);
  return [
    ...taps.map((name) => ({ kind: "tap", netns, name }) as const),
    ...mirrored
      .split("\n")
      .filter(Boolean)
      .map((device) => ({ kind: "qdisc", netns, device }) as const),
  ];
}

/**
 * $1: the prefix of the pod's taps; the rest: devices. Prints those whose frames are redirected to one of the
 * taps.
 */
const MIRRORED = `prefix=$1; shift
for device; do
  tc filter show dev "$device" ingress 2>/dev/null | grep -q "device $prefix" && echo "$device"
done
true`;
