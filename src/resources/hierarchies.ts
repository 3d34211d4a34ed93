import { posix } from "node:path";
import type { MountInfo } from "../core/mountinfo.ts";

/**
 * A mounted cgroup hierarchy. A v1 host has one per set of controllers, a hybrid one also an empty v2
 * hierarchy.
 */
export interface Hierarchy {
  readonly version: 1 | 2;
  /** The mount point. */
  readonly mount: string;
  /** v1 controllers and `name=...`; empty for v2, where each cgroup lists its own. */
  readonly controllers: readonly string[];
  /** Set if systemd manages it: scopes and slices in it are its units. */
  readonly systemd?: true;
  /** The cgroup of the process whose /proc files were read, as a directory on the host. */
  readonly own: string;
}

const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * Returns the writable hierarchies below /sys/fs/cgroup, from /proc/self/mountinfo and /proc/self/cgroup
 * (cgroups(7)). `systemd`: whether it is the host's init; hull leaves v1 hosts to themselves, where systemd does not claim the
 * controllers.
 */
export function hierarchies(mounts: readonly MountInfo[], ownCgroups: string, systemd = false): Hierarchy[] {
  const groups = parseOwn(ownCgroups);
  const found = new Map<string, Hierarchy>();
  for (const { type, target, root, options, superOptions } of mounts) {
    if (options.includes("ro")) continue;
    if (type !== "cgroup" && type !== "cgroup2") continue;
    if (target !== CGROUP_ROOT && posix.dirname(target) !== CGROUP_ROOT) continue;
    const version = type === "cgroup2" ? 2 : 1;
    const group = groups.find(({ controllers }) =>
      version === 2 ? controllers.length === 0 : controllers.some((name) => superOptions.includes(name)),
    );
    if (!group) continue;
    const { controllers, path } = group;
    // A later mount at the same mount point hides an earlier one.
    const own = ownDirectory(target, root, path);
    const managed = systemd && version === 2 && target === CGROUP_ROOT;
    found.set(target, { version, mount: target, controllers, own, ...(managed && { systemd: true }) });
  }
  return [...found.values()];
}

/** Parses lines such as `4:memory:/a/b`, `9:name=systemd:/`, `0::/a` (v2). */
function parseOwn(text: string): { controllers: string[]; path: string }[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (!match) return [];
    return { controllers: (match[1] ?? "").split(",").filter((name) => name !== ""), path: match[2] ?? "/" };
  });
}

/**
 * Only a part of the hierarchy may be mounted, as in a container; a cgroup outside of it counts as its root.
 */
function ownDirectory(target: string, root: string, path: string): string {
  const within = posix.relative(root, path);
  return within === ".." || within.startsWith("../") ? target : posix.join(target, within);
}
