import { errnoOf } from "../../core/errors.ts";
import { lives, livingDaemon, readMark, socketAnswers } from "./liveness.ts";
import type { PodPaths } from "./pod-paths.ts";
import { exists, SIGTERM, type Sys } from "./sys.ts";

/** How long containerd may take from `start`'s answer to its first call; on a machine at rest some milliseconds. */
const FIRST_CALL_MS = 1_000;
const LOOK_MS = 10;

/**
 * Ends a shim that answers but was never called to create anything, so that its id can be used: containerd abandons a
 * start when its client goes away, even one that was just answered, and then knows nothing of the shim. False where the
 * shim is in use, or another `start` of the id is under way.
 */
export function endUnused(sys: Sys, paths: PodPaths): boolean {
  const launcher = readMark(sys, paths.unused);
  if (launcher === undefined || lives(sys, launcher)) return false;
  for (let waited = 0; waited < FIRST_CALL_MS; waited += LOOK_MS) {
    if (hasEnded(sys, paths)) return true; // it notices a start that was killed
    if (!exists(sys, paths.unused) && socketAnswers(sys, paths)) return false;
    pause(sys, LOOK_MS);
  }
  if (!exists(sys, paths.unused)) return !socketAnswers(sys, paths);
  const daemon = livingDaemon(sys, paths);
  if (daemon) terminate(sys, daemon.pid);
  return daemon !== undefined || !socketAnswers(sys, paths);
}

function terminate(sys: Sys, pid: number): void {
  try {
    sys.kill(pid, SIGTERM);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error; // it has ended meanwhile
  }
}

/** A daemon that was not recorded yet cannot be awaited, and takes the directory of its name away at its end. */
function hasEnded(sys: Sys, paths: PodPaths): boolean {
  if (!exists(sys, paths.directory)) return true;
  return !socketAnswers(sys, paths) && readMark(sys, paths.pid) !== undefined;
}

function pause(sys: Sys, ms: number): void {
  sys.setTimer(ms, () => sys.stop());
  sys.run();
}
