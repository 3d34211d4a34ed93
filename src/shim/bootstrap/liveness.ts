import { errnoOf, HullError } from "../../core/errors.ts";
import { isExiting, procStatFields } from "../../core/proc-stat.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, type Sys } from "./sys.ts";

/** A process that cannot be mistaken for a later one with the same pid. */
interface ProcessMark {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string;
}

/**
 * Whether a daemon serves on the pod's socket. One that was killed does not, although it may listen for some
 * milliseconds longer: a process that ends closes its connections and its listening socket in no fixed order, and
 * containerd calls `delete` at once when it sees the first of them close. Throws when that cannot be found out.
 */
export function socketAnswers(sys: Sys, paths: PodPaths): boolean {
  try {
    sys.close(sys.unixConnect(paths.socket));
    return !daemonEnds(sys, paths);
  } catch (error) {
    switch (errnoOf(error)) {
      case "ENOENT":
      case "ENOTDIR":
      case "ECONNREFUSED":
        return false;
      case "EAGAIN": // its backlog is full, so somebody listens
        return true;
      default:
        throw HullError.wrap(`connect to ${paths.socket}`, error);
    }
  }
}

/** The mark of a process; undefined when there is none with that pid. */
export function markOf(sys: Sys, pid: number): ProcessMark | undefined {
  return statOf(sys, pid)?.mark;
}

/** The pod's daemon when its process still lives; undefined when it is gone or was never recorded. */
export function livingDaemon(sys: Sys, paths: PodPaths): ProcessMark | undefined {
  const recorded = readMark(sys, paths.pid);
  return recorded && lives(sys, recorded) ? recorded : undefined;
}

/** Whether the marked process exists. */
export function lives(sys: Sys, { pid, startTime }: ProcessMark): boolean {
  return markOf(sys, pid)?.startTime === startTime;
}

/** Whether the pod's daemon is recorded, and gone or about to be. */
function daemonEnds(sys: Sys, paths: PodPaths): boolean {
  const recorded = readMark(sys, paths.pid);
  if (!recorded) return false;
  const stat = statOf(sys, recorded.pid);
  return !stat || stat.exiting || stat.mark.startTime !== recorded.startTime;
}

/** The mark in a file; undefined where there is none. */
export function readMark(sys: Sys, path: string): ProcessMark | undefined {
  const text = ifExists(() => new TextDecoder().decode(sys.readFile(path)));
  const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(text ?? "") ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}

/** What /proc/PID/stat tells (proc(5)); undefined when there is no such process or only its zombie. */
function statOf(sys: Sys, pid: number): { mark: ProcessMark; exiting: boolean } | undefined {
  let stat: string;
  try {
    stat = new TextDecoder().decode(sys.readFile(`/proc/${pid}/stat`));
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") return undefined;
    throw error;
  }
  const fields = procStatFields(stat);
  if (fields[3] === "Z") return undefined;
  return { mark: { pid, startTime: fields[22] ?? "" }, exiting: isExiting(fields) };
}

/** How `readMark` wants a process recorded. */
export function encodeMark(mark: ProcessMark): string {
  return `${mark.pid} ${mark.startTime}\n`;
}
