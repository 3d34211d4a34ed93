import { errnoOf } from "../../core/errors.ts";
import { isAlive, livingDaemon, readIdentity, socketAnswers } from "./liveness.ts";
import type { PodPaths } from "./pod-paths.ts";
import { exists, SIGTERM, type Sys } from "./sys.ts";

/** How long containerd may take from the exit of `start` to its first call, usually a few milliseconds. */
const FIRST_CALL_TIMEOUT_MS = 1_000;
const POLL_MS = 10;

/**
 * Terminates a shim that answers but never received a Create, so that its id can be used: containerd forgets a shim
 * whose client goes away during `start`. Returns false if the shim is in use or another `start` of the id is running.
 */
export function terminateUnused(sys: Sys, paths: PodPaths): boolean {
  const launcher = readIdentity(sys, paths.unused);
  if (launcher === undefined || isAlive(sys, launcher)) return false;
  for (let waited = 0; waited < FIRST_CALL_TIMEOUT_MS; waited += POLL_MS) {
    if (hasExited(sys, paths)) return true; // it exits by itself if its `start` was killed
    if (!exists(sys, paths.unused) && socketAnswers(sys, paths)) return false;
    sleep(sys, POLL_MS);
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
    if (errnoOf(error) !== "ESRCH") throw error; // has exited meanwhile
  }
}

/** A daemon whose PID is not recorded yet has exited when its directory is gone. */
function hasExited(sys: Sys, paths: PodPaths): boolean {
  if (!exists(sys, paths.directory)) return true;
  return !socketAnswers(sys, paths) && readIdentity(sys, paths.pid) !== undefined;
}

function sleep(sys: Sys, ms: number): void {
  sys.setTimer(ms, () => sys.stop());
  sys.run();
}
