import { errnoOf, HullError } from "../../core/errors.ts";
import { isExiting, procStatFields } from "../../core/proc-stat.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, type Sys } from "./sys.ts";

/** Identifies a process, even if its PID is reused later. */
interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string;
}

/**
 * Returns whether a daemon serves on the pod's socket; throws if the check fails. A daemon that was killed does not
 * count, though it may listen for some milliseconds longer: an exiting process closes connections and listening socket
 * in no fixed order, and containerd calls `delete` as soon as its connection closes.
 */
export function socketAnswers(sys: Sys, paths: PodPaths): boolean {
  try {
    sys.close(sys.unixConnect(paths.socket));
    return !daemonIsExiting(sys, paths);
  } catch (error) {
    switch (errnoOf(error)) {
      case "ENOENT":
      case "ENOTDIR":
      case "ECONNREFUSED":
        return false;
      case "EAGAIN": // the backlog is full
        return true;
      default:
        throw HullError.wrap(`connect to ${paths.socket}`, error);
    }
  }
}

/** Returns the identity of a process; undefined if there is none with that PID. */
export function identityOf(sys: Sys, pid: number): ProcessIdentity | undefined {
  return statOf(sys, pid)?.identity;
}

/** Returns the process of the pod's daemon; undefined if it has exited or its PID was never recorded. */
export function livingDaemon(sys: Sys, paths: PodPaths): ProcessIdentity | undefined {
  const recorded = readIdentity(sys, paths.pid);
  return recorded && isAlive(sys, recorded) ? recorded : undefined;
}

/** Returns whether the process still exists. */
export function isAlive(sys: Sys, { pid, startTime }: ProcessIdentity): boolean {
  return identityOf(sys, pid)?.startTime === startTime;
}

/** Returns whether the PID of the pod's daemon is recorded, and the process has exited or is exiting. */
function daemonIsExiting(sys: Sys, paths: PodPaths): boolean {
  const recorded = readIdentity(sys, paths.pid);
  if (!recorded) return false;
  const stat = statOf(sys, recorded.pid);
  return !stat || stat.exiting || stat.identity.startTime !== recorded.startTime;
}

/** Reads what `encodeIdentity` wrote to a file; undefined if there is no such file or it has other content. */
export function readIdentity(sys: Sys, path: string): ProcessIdentity | undefined {
  const text = ifExists(() => new TextDecoder().decode(sys.readFile(path)));
  const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(text ?? "") ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}

/** Reads /proc/PID/stat (proc(5)); undefined if there is no such process, or only its zombie. */
function statOf(sys: Sys, pid: number): { identity: ProcessIdentity; exiting: boolean } | undefined {
  let stat: string;
  try {
    stat = new TextDecoder().decode(sys.readFile(`/proc/${pid}/stat`));
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") return undefined;
    throw error;
  }
  const fields = procStatFields(stat);
  if (fields[3] === "Z") return undefined;
  return { identity: { pid, startTime: fields[22] ?? "" }, exiting: isExiting(fields) };
}

/** Returns a process as text for `readIdentity`. */
export function encodeIdentity({ pid, startTime }: ProcessIdentity): string {
  return `${pid} ${startTime}\n`;
}
