import { readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Resolves with the PIDs of a pod's processes by role, from its state on disk: the shim, recorded processes,
 * and their children.
 */
export async function podProcesses(namespace: string, pod: string): Promise<Map<string, number[]>> {
  const directory = join("/run/hull", namespace, pod);
  const state = JSON.parse(await readFile(join(directory, "state.json"), "utf8")) as {
    resources: { kind: string; role?: string; pid?: number }[];
  };
  const shim = Number((await readFile(join(directory, "shim.pid"), "utf8")).split(/\s/)[0]);
  const found = new Map([["shim", [shim]]]);
  for (const { kind, role = "", pid } of state.resources) {
    if (kind !== "process" || pid === undefined) continue;
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).split(" ").filter(Boolean);
    // virtiofsd's worker is recorded, too.
    found.set(role, [...new Set([...(found.get(role) ?? []), pid, ...children.map(Number)])]);
  }
  return found;
}

/** Resolves with the cgroups of a process, without the names of the hierarchies. */
export async function cgroupsOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/cgroup`, "utf8");
  const paths = text
    .trim()
    .split("\n")
    .map((line) => line.split(":").slice(2).join(":"));
  return [...new Set(paths)];
}
