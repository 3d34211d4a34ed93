import { type FileHandle, open } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import { undo } from "../core/undo.ts";
import type { MountApi } from "./mount-api.ts";
import { run, ToolError } from "./run.ts";

/** An image file as a block device, by losetup(8). */
interface LoopDevice {
  /** `/dev/loopN`. */
  readonly path: string;
  /** Waits until nobody else has it open. Idempotent; one that has failed can be called again. */
  detach(deadline: Deadline): Promise<void>;
}

/** `at`: where this process finds the file, which everybody else knows as `file`. */
export async function attachLoop(
  file: string,
  readOnly: boolean,
  { ledger, mounts }: { readonly ledger: Ledger; readonly mounts: Pick<MountApi, "detachLoop"> },
  deadline: Deadline,
  at = file,
): Promise<LoopDevice> {
  const entry = await ledger.record({ kind: "loop", file });
  let device: string | undefined;
  let held: FileHandle | undefined;
  try {
    const how = ["--find", "--show", ...(readOnly ? ["--read-only"] : [])];
    const path = (await run(["losetup", ...how, "--", at], deadline)).trim();
    device = path;
    await entry.update({ kind: "loop", file, device });
    // Whoever can open the device can detach it (LOOP_CLR_FD asks for no right): a VMM that was taken over, and has a node
    // of it. Its number is no other pod's for as long as it is open here. If we are killed, it goes with its last opener.
    const handle = await open(path);
    held = handle;
    await run(["losetup", "--detach", path], deadline);
    const detach = async (by: Deadline) => {
      // Not before everybody else has closed it: whoever has not would find the next one's file there.
      await pollUntil(() => handle.fd < 0 || mounts.detachLoop(handle.fd), by).catch((error: unknown) => {
        throw HullError.wrap(`detach ${path}, which another process has open`, error);
      });
      await by.race(handle.close());
      await entry.forget();
    };
    return { path, detach };
  } catch (thrown) {
    // A losetup that was killed, by us or by others, may have done it all the same: recorded until that is undone.
    const killed = deadline.reason || (thrown instanceof ToolError && thrown.exitCode === undefined);
    const left = await undo(thrown, async (by) => {
      await held?.close();
      if (device !== undefined || killed) await releaseLoop(at, device, by);
      await entry.forget();
    });
    throw HullError.wrap(`image file ${file}: attach it to a loop device`, left);
  }
}

/**
 * Detaches the device of a file, or where it is not known whatever the file is attached to: other pods may have devices of
 * it, too. For a record whose daemon is gone.
 */
export async function releaseLoop(
  file: string,
  device: string | undefined,
  deadline: Deadline,
): Promise<void> {
  const found = await run(["losetup", "--noheadings", "--output", "NAME", "--associated", file], deadline);
  for (const path of found.split("\n").map((line) => line.trim())) {
    if (path !== "" && path === (device ?? path)) await run(["losetup", "--detach", path], deadline);
  }
}
