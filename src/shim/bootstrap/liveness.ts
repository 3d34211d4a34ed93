import { HullError } from "../../core/errors.ts";
import type { PodPaths } from "./pod-paths.ts";
import { errnoOf, ifExists, type Sys } from "./sys.ts";

/** A process that cannot be mistaken for a later one with the same pid. */
export interface ProcessMark {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string;
}

/** Whether a daemon listens on the pod's socket. Throws when that cannot be found out. */
export function socketAnswers(sys: Sys, paths: PodPaths): boolean {
  try {
    sys.close(sys.unixConnect(paths.socket));
    return true;
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
  let stat: string;
  try {
    stat = new TextDecoder().decode(sys.readFile(`/proc/${pid}/stat`));
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") return undefined;
    throw error;
  }
  // The second field is the name in parentheses and may hold anything: count from its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : { pid, startTime: fields[19] ?? "" };
}

/** The pod's daemon when its process still lives; undefined when it is gone or was never recorded. */
export function livingDaemon(sys: Sys, paths: PodPaths): ProcessMark | undefined {
  const text = ifExists(() => new TextDecoder().decode(sys.readFile(paths.pid)));
  const match = text === undefined ? null : /^(\d+) (\d+)\n$/.exec(text);
  if (!match) return undefined;
  const mark = markOf(sys, Number(match[1]));
  return mark && mark.startTime === match[2] ? mark : undefined;
}

/** How `livingDaemon` wants a daemon recorded. */
export function encodeMark(mark: ProcessMark): string {
  return `${mark.pid} ${mark.startTime}\n`;
}
