import { readFileSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError } from "../core/errors.ts";
import { procStatFields } from "../core/proc-stat.ts";

/** The environment variable that marks every process of a pod on the host: `HULL_POD=<namespace>/<pod>`. */
export const POD_MARK = "HULL_POD";
/** The one with the process's role in the pod: `HULL_ROLE=virtiofsd`. Forks inherit both. */
export const ROLE_MARK = "HULL_ROLE";

/** Whether all threads of a process have exited: a zombie leader may still have running threads. */
function hasEnded(state: string | undefined, threads: string | undefined): boolean {
  return (state === "Z" || state === "X") && !(Number(threads) > 1);
}

/**
 * Returns field 22 of /proc/PID/stat (proc(5)), the start time in ticks since boot; undefined if it has
 * exited.
 */
function parseStartTime(stat: string): string | undefined {
  const fields = procStatFields(stat);
  return hasEnded(fields[3], fields[20]) ? undefined : fields[22];
}

/**
 * Returns a process's start time, which with its PID identifies it for good; undefined for a zombie or no
 * process. Synchronous, so a child just spawned cannot have been reaped before it runs.
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    return parseStartTime(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether a process is stopped by a signal or a debugger. False if there is no such process. */
export async function isStopped(pid: number): Promise<boolean> {
  try {
    const state = procStatFields(await readFile(`/proc/${pid}/stat`, "utf8"))[3];
    return state === "T" || state === "t";
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Whether the process with this PID and start time still runs (a zombie does not). */
export function isAlive(pid: number, startTime: string): boolean {
  return startTimeOf(pid) === startTime;
}

/** Identifies a process for good, even if its PID is reused. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/**
 * Returns all processes with the mark of `pod` (`<namespace>/<pod>`), and with `role` only those of that
 * role, in the environment that they were started with.
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

/** Returns the children of a process's main thread (CONFIG_PROC_CHILDREN, which distributions set). */
export async function childrenOf(pid: number): Promise<number[]> {
  try {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Returns all descendants of a process. A fork bomb can keep this from finishing before the deadline. */
export async function descendantsOf(pid: number, deadline: Deadline): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const child of await deadline.race(childrenOf(pid))) {
    const startTime = startTimeOf(child);
    if (startTime !== undefined)
      found.push({ pid: child, startTime }, ...(await descendantsOf(child, deadline)));
  }
  return found;
}

/** The flag of a listening socket (__SO_ACCEPTCON of the kernel's include/linux/socket.h). */
const ACCEPTS = 0x1_0000;

/**
 * Whether a process listens on a Unix socket in its network namespace that was bound to a path ending in
 * `/name`. False if there is no such process.
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

/** ENOENT at the open, ESRCH between open and read, EACCES for a kernel thread or another user's process. */
function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === "ENOENT" || code === "ESRCH" || code === "EACCES";
}

/**
 * Returns a process's soft limit (getrlimit(2)), at most 2^31-1. Throws Unavailable if the process is gone.
 */
export async function limitOf(pid: number | "self", what: "open files" | "processes"): Promise<number> {
  const text = await readFile(`/proc/${pid}/limits`, "utf8").catch((error: unknown) => {
    throw HullError.wrap(`limits of process ${pid}`, error, "Unavailable");
  });
  const [, soft] = new RegExp(`^Max ${what}\\s+(\\d+)`, "m").exec(text) ?? [];
  return Math.min(Number(soft ?? Number.POSITIVE_INFINITY), 0x7fff_ffff);
}
