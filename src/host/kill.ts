import type { Deadline } from "../core/deadline.ts";
import { errnoOf } from "../core/errors.ts";
import { pollUntil } from "../core/poll-until.ts";
import { isAlive, type ProcessIdentity } from "./proc.ts";

/** Kills processes (SIGKILL) and resolves when none is alive any more. Rejects at the deadline. */
export async function killAll(processes: readonly ProcessIdentity[], deadline: Deadline): Promise<void> {
  for (const { pid, startTime } of processes) if (isAlive(pid, startTime)) kill(pid);
  // They are not our children, so nothing reports their exit.
  await pollUntil(() => !processes.some(({ pid, startTime }) => isAlive(pid, startTime)), deadline);
}

/** Kills a process (SIGKILL) that may already have exited. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}
