import type { Deadline } from "../core/deadline.ts";
import { errnoOf } from "../core/errors.ts";
import { pollUntil } from "../core/poll-until.ts";
import { isAlive, type ProcessIdentity } from "./proc.ts";

/** Kills these processes (SIGKILL) and resolves when none of them lives. Rejects when the deadline is over first. */
export async function killAll(processes: readonly ProcessIdentity[], deadline: Deadline): Promise<void> {
  for (const { pid, startTime } of processes) if (isAlive(pid, startTime)) kill(pid);
  // They are nobody's children here, so nothing tells.
  await pollUntil(() => !processes.some(({ pid, startTime }) => isAlive(pid, startTime)), deadline);
}

/** Kills a process (SIGKILL) that may have ended already. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}
