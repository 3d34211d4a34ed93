import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseMountInfo } from "../../src/core/mountinfo.ts";
import { procStatFields } from "../../src/core/proc-stat.ts";

/** What the kernel tells about this machine's resources, for leak checks. Sources: proc(5), cgroups(7). */

/**
 * `missing` when the thing went away while it was looked at, which is what happens to processes, or is hidden even
 * from root, which nothing is that a test started.
 */
async function unlessGone<T>(reading: Promise<T>, missing: T): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "ENOTDIR" || code === "EINVAL" || code === "EACCES")
      return missing;
    throw error;
  }
}

interface ProcessEntry {
  readonly pid: number;
  /** Clock ticks after boot: with the pid it names one process for ever. */
  readonly startTime: string;
  readonly comm: string;
  readonly cwd: string;
  readonly argv: readonly string[];
}

/** Every process that is not a kernel thread. A zombie has no arguments, but counts. */
export async function processes(): Promise<ProcessEntry[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const entries = await Promise.all(
    pids.map(async (pid): Promise<ProcessEntry | undefined> => {
      const stat = await unlessGone(readFile(`/proc/${pid}/stat`, "utf8"), "");
      const fields = procStatFields(stat);
      const kernelThread = (Number(fields[9]) & 0x200000) !== 0;
      if (fields.length === 0 || kernelThread) return undefined;
      const argv = (await unlessGone(readFile(`/proc/${pid}/cmdline`, "utf8"), "")).split("\0").slice(0, -1);
      return {
        pid: Number(pid),
        startTime: fields[22] ?? "",
        comm: fields[2] ?? "",
        cwd: await unlessGone(readlink(`/proc/${pid}/cwd`), ""),
        argv,
      };
    }),
  );
  return entries.filter((entry) => entry !== undefined);
}

/** Mounts of this mount namespace and of those of the given processes: `root mountpoint type source`, each once. */
export async function mounts(pids: readonly number[]): Promise<Set<string>> {
  const namespaces = new Map<string, string>();
  for (const pid of ["self", ...pids.map(String)]) {
    const namespace = await unlessGone(readlink(`/proc/${pid}/ns/mnt`), "");
    if (namespace !== "" && !namespaces.has(namespace)) namespaces.set(namespace, pid);
  }
  const found = new Set<string>();
  for (const [namespace, pid] of namespaces) {
    const table = await unlessGone(readFile(`/proc/${pid}/mountinfo`, "utf8"), "");
    for (const { root, target, type, source } of parseMountInfo(table)) {
      found.add(`${namespace} ${root} ${target} ${type} ${source}`);
    }
  }
  return found;
}

/** Paths of the unix sockets of this network namespace; abstract ones begin with `@`. Connected ends repeat a path. */
export async function unixSockets(): Promise<Set<string>> {
  const lines = (await readFile("/proc/net/unix", "utf8")).split("\n").slice(1);
  return new Set(lines.map((line) => line.split(/\s+/).slice(7).join(" ")).filter((path) => path !== ""));
}

/** Full paths of a folder's entries; none when there is no such folder. */
export async function directoryEntries(folder: string): Promise<string[]> {
  const names = await unlessGone(readdir(folder), []);
  return names.map((name) => join(folder, name));
}

/** Every cgroup of every hierarchy below /sys/fs/cgroup. */
export async function cgroups(folder = "/sys/fs/cgroup"): Promise<string[]> {
  const entries = await unlessGone(readdir(folder, { withFileTypes: true }), []);
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  return [...below, ...(await Promise.all(below.map(cgroups))).flat()];
}

/** Names of the network links of this network namespace. */
export async function links(): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ip", ["-j", "link", "show"]);
  return (JSON.parse(stdout) as { ifindex: number; ifname: string }[]).map(
    ({ ifindex, ifname }) => `${ifindex} ${ifname}`,
  );
}
