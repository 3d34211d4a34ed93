import { execFile } from "node:child_process";
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { type MountInfo, parseMountInfo } from "../../src/core/mountinfo.ts";

/** A process of a pod on the host, as /proc shows it. */
export interface PodProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  /** The fields of /proc/PID/status: `Uid`, `CapEff`, `Seccomp`... Multiple values are separated by tabs. */
  readonly status: Readonly<Record<string, string>>;
}

/** Resolves with all processes of the machine. */
export async function hostProcesses(): Promise<PodProcess[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  return Promise.all(pids.map(hostProcess));
}

/**
 * Resolves with the processes whose program ends with `program` and that are marked with `pod`
 * (`<namespace>/<pod>`).
 */
export async function podProcesses(program: string, pod: string): Promise<PodProcess[]> {
  const found: PodProcess[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const one = await hostProcess(Number(pid));
    const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
    if (one.argv[0]?.endsWith(program) && environment.includes(`=${pod}\0`)) found.push(one);
  }
  return found;
}

/** Resolves with the processes of a user (real, effective, saved or file system) of which a thread runs. */
export async function processesOfUser(user: number): Promise<number[]> {
  const own = (await hostProcesses()).filter(({ status }) => status.Uid?.split("\t").includes(String(user)));
  return own
    .filter(({ status }) => !/^[ZX]/.test(status.State ?? "X") || Number(status.Threads) > 1)
    .map(({ pid }) => pid);
}

/** Resolves with the process `pid`, without arguments and fields if it has exited. */
export async function hostProcess(pid: number): Promise<PodProcess> {
  const [line = "", status = ""] = await Promise.all(
    ["cmdline", "status"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
  );
  const fields = status.split("\n").map((field) => field.split(":\t"));
  return { pid, argv: line.split("\0").slice(0, -1), status: Object.fromEntries(fields) };
}

/** The privileges of a process on the host, from /proc. */
interface ProcessRights {
  readonly user: number;
  readonly capabilities: string;
  readonly noNewPrivs: string;
  readonly seccomp: string;
  /** The types of namespaces that differ from this process's. */
  readonly namespaces: readonly string[];
  /** The devices that it has open, without /dev/null. */
  readonly devices: readonly string[];
}

export async function rightsOf({ pid, status }: PodProcess): Promise<ProcessRights> {
  const links = async (owner: number | "self", directory: string) => {
    const names = await readdir(`/proc/${owner}/${directory}`);
    const targets = names.map((name) => readlink(`/proc/${owner}/${directory}/${name}`).catch(() => ""));
    return new Map((await Promise.all(targets)).map((target, index) => [names[index] ?? "", target]));
  };
  const [own, other, files] = [await links("self", "ns"), await links(pid, "ns"), await links(pid, "fd")];
  return {
    user: Number(status.Uid?.split("\t")[0]),
    capabilities: status.CapEff ?? "",
    noNewPrivs: status.NoNewPrivs ?? "",
    seccomp: status.Seccomp ?? "",
    namespaces: ["mnt", "net", "pid"].filter((kind) => own.get(kind) !== other.get(kind)),
    devices: [...new Set(files.values())].filter((path) => /^\/dev\/(?!null$|shm\/)/.test(path)).sort(),
  };
}

/** Resolves with the mounts of a process's mount namespace. */
export async function mountsOf({ pid }: PodProcess): Promise<MountInfo[]> {
  return parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, "utf8"));
}

/**
 * Resolves with the directories that a process of an unprivileged user can write to, by path (two levels
 * deep) or through an open descriptor, without world-writable ones.
 */
export async function writableDirectories({ pid, status }: PodProcess): Promise<string[]> {
  const user = status.Uid?.split("\t")[0] ?? "";
  const find = ["find", "/", "-maxdepth", "2", "-path", "/proc", "-prune", "-o"];
  const wanted = ["-type", "d", "-writable", "!", "-perm", "-o=w", "-print"];
  const become = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--"];
  const { stdout } = await promisify(execFile)("nsenter", [
    ...["--mount", `--target=${pid}`, "--", ...become, ...find, ...wanted],
  ]).catch((error: { stdout: string; stderr: string }) => {
    // It cannot write to what it cannot read.
    const others = error.stderr.split("\n").filter((line) => !/Permission denied|^$/.test(line));
    if (others.length > 0) throw error;
    return error;
  });
  const directories = stdout.split("\n").filter(Boolean);
  for (const fd of ["cwd", ...(await readdir(`/proc/${pid}/fd`)).map((name) => `fd/${name}`)]) {
    const place = `/proc/${pid}/${fd}`;
    const { mode, uid, gid } = await stat(place).catch(() => ({ mode: 0, uid: 0, gid: 0 })); // closed meanwhile
    const own = (uid === Number(user) && mode & 0o200) || (gid === Number(user) && mode & 0o020);
    if ((mode & 0o170000) === 0o040000 && own) directories.push(await readlink(place));
  }
  return directories;
}
