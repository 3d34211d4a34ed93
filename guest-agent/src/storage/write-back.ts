import { internal } from "../../../src/core/errors.ts";
import { runCommand } from "../loop/command.ts";
import type { Reaper } from "../loop/reaper.ts";
import type { Sys } from "../sys.ts";

/** The argument with which this program writes a file system back instead of being PID 1 of the guest. */
export const WRITE_BACK_ARGUMENT = "write-back";

/** Enough for gigabytes on a slow disk. */
const TIMEOUT_MS = 600_000;

/**
 * Writes a file system's data to its disk (syncfs(2)) in another process of this program: it may take
 * minutes, during which the agent must answer. Rejects with Internal or DeadlineExceeded.
 */
export async function writeBack(sys: Sys, reaper: Reaper, path: string): Promise<void> {
  const argv = ["/proc/self/exe", WRITE_BACK_ARGUMENT, path];
  const { status } = await runCommand(sys, reaper, { argv, timeoutMs: TIMEOUT_MS });
  if (status !== 0) throw internal(`${path}: write it back: exited with status ${status}`);
}

/** The program of that process. */
export function writeBackHere(sys: Sys, path: string): void {
  sys.syncfs(sys.open(path, sys.O_RDONLY));
}
