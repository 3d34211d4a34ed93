import type { Deadline } from "../core/deadline.ts";
import { isAlive, type ProcessIdentity } from "./proc.ts";

/** Between two looks whether a killed process is gone: it is nobody's child here, so nothing tells. */
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 50;

/** Kills these processes (SIGKILL) and resolves when none of them lives. Rejects when the deadline is over first. */
export async function killAll(processes: readonly ProcessIdentity[], deadline: Deadline): Promise<void> {
  for (const { pid, startTime } of processes) if (isAlive(pid, startTime)) kill(pid);
  let wait = FIRST_LOOK_MS;
  while (processes.some(({ pid, startTime }) => isAlive(pid, startTime))) {
    deadline.check();
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, LONGEST_LOOK_MS);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
