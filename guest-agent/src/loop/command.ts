import { deadlineExceeded } from "../../../src/core/errors.ts";
import { allowing, SIGKILL, type Sys } from "../sys.ts";
import type { Exit, Reaper } from "./reaper.ts";

interface Command {
  argv: string[];
  env?: string[];
  /** The child's descriptors; they remain the caller's. */
  fds?: number[];
  /** Milliseconds until the command is killed. */
  timeoutMs: number;
}

/**
 * Runs a helper program and resolves with its exit. After the timeout, kills it and rejects with
 * DeadlineExceeded.
 */
export function runCommand(sys: Sys, reaper: Reaper, command: Command): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const pid = sys.spawn({
      argv: command.argv,
      env: command.env ?? [],
      fds: command.fds ?? [-1, -1, -1],
      deathSignal: SIGKILL,
    });
    let late = false;
    const timer = sys.setTimer(command.timeoutMs, () => {
      late = true;
      allowing(["ESRCH"], () => sys.kill(pid, SIGKILL));
    });
    reaper.watch(pid, (exit) => {
      sys.clearTimer(timer);
      if (late) reject(deadlineExceeded(`${command.argv[0]}: timed out after ${command.timeoutMs} ms`));
      else resolve(exit);
    });
  });
}
