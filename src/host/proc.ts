import { readFileSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError } from "../core/errors.ts";
import { procStatFields } from "../core/proc-stat.ts";

/** The environment variable that marks every process a pod has on the host: `HULL_POD=<namespace>/<pod>`. */
export const POD_MARK = "HULL_POD";
/** The one that says which of the pod's processes it is: `HULL_ROLE=virtiofsd`. Forks have both. */
export const ROLE_MARK = "HULL_ROLE";

/** Whether all of a process has ended. Its first thread can end alone and leave others that run. */
function hasEnded(state: string | undefined, threads: string | undefined): boolean {
  return (state === "Z" || state === "X") && !(Number(threads) > 1);
}

/** Field 22 of /proc/PID/stat (proc(5)), the start time in clock ticks since boot; undefined when there is none. */
function parseStartTime(stat: string): string | undefined {
  const fields = procStatFields(stat);
  return hasEnded(fields[3], fields[20]) ? undefined : fields[22];
}

/**
 * The start time of a process, which together with its pid names it for good. Undefined when there is no such process
 * or when it is a zombie. Synchronous, so that a child just spawned cannot have been reaped in between.
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    return parseStartTime(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether a process has been stopped by a signal, or a debugger holds it. False where there is none. */
export async function isStopped(pid: number): Promise<boolean> {
  try {
    const state = procStatFields(await readFile(`/proc/${pid}/stat`, "utf8"))[3];
    return state === "T" || state === "t";
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Whether the process that had this pid and start time still runs (a zombie does not). */
export function isAlive(pid: number, startTime: string): boolean {
  return startTimeOf(pid) === startTime;
}

/** A process as a record can name it. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/**
 * All processes that carry the mark of `pod` (`<namespace>/<pod>`), of all roles or of one, in the environment they were
 * started with.
 */
export async function findByMark(pod: string, role?: string): Promise<ProcessIdentity[]> {
  const marks = [`\0${POD_MARK}=${pod}\0`, ...(role === undefined ? [] : [`\0${ROLE_MARK}=${role}\0`])];
  const found: ProcessIdentity[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const environment = `\0${await readFile(`/proc/${pid}/environ`, "latin1")}\0`;
      const startTime = marks.every((mark) => environment.includes(mark))
        ? startTimeOf(Number(pid))
        : undefined;
      if (startTime !== undefined) found.push({ pid: Number(pid), startTime });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return found;
}

/** The child processes of a process's main thread (CONFIG_PROC_CHILDREN, which distributions set). */
export async function childrenOf(pid: number): Promise<number[]> {
  try {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** The children of a process, their children, and so on: a process that forks on and on can make that endless. */
export async function descendantsOf(pid: number, deadline: Deadline): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const child of await deadline.race(childrenOf(pid))) {
    const startTime = startTimeOf(child);
    if (startTime !== undefined)
      found.push({ pid: child, startTime }, ...(await descendantsOf(child, deadline)));
  }
  return found;
}

/** Set in the flags of a socket that listens (__SO_ACCEPTCON of the kernel's include/linux/socket.h). */
const ACCEPTS = 0x1_0000;

/**
 * Whether a process has a unix socket that listens, in its network namespace, and was bound to a path that ends in `name`.
 * False when there is no such process.
 */
export async function listensOn(pid: number, name: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  const gone = (error: unknown) => {
    if (isGone(error)) return undefined;
    throw error;
  };
  const numbers = (await readdir(directory).catch(gone)) ?? [];
  const links = await Promise.all(numbers.map((number) => readlink(`${directory}/${number}`).catch(gone)));
  const table = (await readFile(`/proc/${pid}/net/unix`, "latin1").catch(gone)) ?? "";
  const lines = table.split("\n").slice(1);
  // Num RefCount Protocol Flags Type St Inode Path
  return lines.some((line) => {
    const [, , , flags = "", , , inode, path = ""] = line.split(/ +/);
    const listens = (Number.parseInt(flags, 16) & ACCEPTS) !== 0;
    return listens && path.endsWith(`/${name}`) && links.includes(`socket:[${inode}]`);
  });
}

/** ENOENT before the open, ESRCH between open and read; EACCES for a kernel thread or another user's process. */
function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === "ENOENT" || code === "ESRCH" || code === "EACCES";
}

/** A limit of a process (its soft one, getrlimit(2)), at most 2^31-1. Throws Unavailable when the process is gone. */
export async function limitOf(pid: number | "self", what: "open files" | "processes"): Promise<number> {
  const text = await readFile(`/proc/${pid}/limits`, "utf8").catch((error: unknown) => {
    throw HullError.wrap(`limits of process ${pid}`, error, "Unavailable");
  });
  const [, soft] = new RegExp(`^Max ${what}\\s+(\\d+)`, "m").exec(text) ?? [];
  return Math.min(Number(soft ?? Number.POSITIVE_INFINITY), 0x7fff_ffff);
}
