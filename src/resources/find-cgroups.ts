import { readdir } from "node:fs/promises";
import { posix } from "node:path";
import type { Resource } from "../core/ledger.ts";
import type { Hierarchy } from "./hierarchies.ts";

/** No container runtime nests cgroups deeper. */
const DEEPEST = 12;
/** Ids that containerd and CRI generate, which are unique on the host. */
const UNIQUE = /^[0-9a-f]{64}$/;

/**
 * Finds the cgroups of a pod without a ledger, by name: `.../<namespace>/<id>`, as ctr asks for, and for ids
 * of CRI's form also `.../<id>` and `.../<runtime>-<id>.scope` anywhere. Their ancestors are left alone.
 */
export async function findCgroups(
  { namespace, id }: { readonly namespace: string; readonly id: string },
  where: readonly Hierarchy[],
): Promise<Extract<Resource, { kind: "cgroup" }>[]> {
  const isPods = (path: string) => {
    const name = posix.basename(path);
    if (UNIQUE.test(id)) return name === id || name.endsWith(`-${id}.scope`);
    return path.endsWith(`/${namespace}/${id}`);
  };
  const found = new Set<string>();
  const look = async (mount: string, path: string, depth: number): Promise<void> => {
    const entries = await readdir(mount + path, { withFileTypes: true }).catch(() => []); // just removed
    for (const entry of entries) {
      if (!entry.isDirectory()) continue;
      const below = `${path}/${entry.name}`;
      if (isPods(below)) found.add(below);
      else if (depth < DEEPEST) await look(mount, below, depth + 1);
    }
  };
  for (const { mount } of where) await look(mount, "", 1);
  return [...found].map((path) => ({ kind: "cgroup", path, existing: posix.dirname(path) }));
}
