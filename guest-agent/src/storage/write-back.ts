import { internal } from "../../../src/core/errors.ts";
import { runCommand } from "../loop/command.ts";
import type { Reaper } from "../loop/reaper.ts";
import type { Sys } from "../sys.ts";

/** The argument that makes this program write a file system back instead of being PID 1 of the guest. */
export const WRITE_BACK_ARGUMENT = "write-back";

/** Gigabytes on a slow disk. */
const LIMIT_MS = 600_000;

/**
 * Has a file system's data written to its disk by this program in another process (syncfs(2)): it may take minutes, in
 * which the agent must answer. Rejects with Internal, DeadlineExceeded.
 */
export async function writeBack(sys: Sys, reaper: Reaper, path: string): Promise<void> {
  const argv = ["/proc/self/exe", WRITE_BACK_ARGUMENT, path];
  const { status } = await runCommand(sys, reaper, { argv, timeoutMs: LIMIT_MS });
  if (status !== 0) throw internal(`${path}: write it back: exited with status ${status}`);
}

/** What the other process does. */
export function writeBackHere(sys: Sys, path: string): void {
  sys.syncfs(sys.open(path, sys.O_RDONLY));
}
