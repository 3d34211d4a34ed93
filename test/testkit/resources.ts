import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseMountInfo } from "../../src/core/mountinfo.ts";
import { procStatFields } from "../../src/core/proc-stat.ts";

/** The resources of this machine, for leak checks. Sources: proc(5), cgroups(7). */

/**
 * Returns `missing` if the object disappeared meanwhile, as processes do, or is hidden even from root, as
 * nothing is that a test has started.
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
  /** Clock ticks after boot; identifies a process together with its PID. */
  readonly startTime: string;
  readonly comm: string;
  readonly cwd: string;
  readonly argv: readonly string[];
}

/** Resolves with all processes that are not kernel threads. Zombies, which have no arguments, count. */
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

/**
 * Resolves with the mounts of this mount namespace and of the given processes': `root mountpoint type
 * source`, each once.
 */
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

/** Resolves with the paths of the Unix sockets of this network namespace; abstract ones start with `@`. */
export async function unixSockets(): Promise<Set<string>> {
  const lines = (await readFile("/proc/net/unix", "utf8")).split("\n").slice(1);
  return new Set(lines.map((line) => line.split(/\s+/).slice(7).join(" ")).filter((path) => path !== ""));
}

/** Resolves with the full paths of a directory's entries; none if it does not exist. */
export async function directoryEntries(directory: string): Promise<string[]> {
  const names = await unlessGone(readdir(directory), []);
  return names.map((name) => join(directory, name));
}

/** Resolves with all cgroups of every hierarchy below /sys/fs/cgroup. */
export async function cgroups(directory = "/sys/fs/cgroup"): Promise<string[]> {
  const entries = await unlessGone(readdir(directory, { withFileTypes: true }), []);
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
  return [...below, ...(await Promise.all(below.map(cgroups))).flat()];
}

/** Resolves with the names of the interfaces of this network namespace. */
export async function links(): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ip", ["-j", "link", "show"]);
  return (JSON.parse(stdout) as { ifindex: number; ifname: string }[]).map(
    ({ ifindex, ifname }) => `${ifindex} ${ifname}`,
  );
}
