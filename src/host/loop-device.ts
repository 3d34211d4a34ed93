import { type FileHandle, open } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import { undo } from "../core/undo.ts";
import type { MountApi } from "./mount-api.ts";
import { run, ToolError } from "./run.ts";

/** A loop device for an image file, by losetup(8). */
interface LoopDevice {
  /** `/dev/loopN`. */
  readonly path: string;
  /** Waits until no other process has it open. Idempotent; can be retried after a failure. */
  detach(deadline: Deadline): Promise<void>;
}

/** Attaches a loop device to `file`, which this process opens as `at`, and records it as `file`. */
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
    // A compromised VMM can detach the device through its node (LOOP_CLR_FD needs no privilege). While it is
    // open here, no other pod gets its number. The early detach makes the kernel free it with its last
    // opener.
    const handle = await open(path);
    held = handle;
    await run(["losetup", "--detach", path], deadline);
    // FileHandle.close() resolves at once if an earlier call is still closing.
    let closing: Promise<void> | undefined;
    const detach = async (by: Deadline) => {
      // Only when all others have closed it: a process that has it open would see the next user's file.
      await pollUntil(() => closing !== undefined || mounts.detachLoop(handle.fd), by).catch(
        (error: unknown) => {
          throw HullError.wrap(`detach ${path}, which another process has open`, error);
        },
      );
      closing ??= handle.close();
      await by.race(closing);
      await entry.forget();
    };
    return { path, detach };
  } catch (thrown) {
    // A killed losetup may have attached the device anyway: it stays recorded until that is undone.
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
 * Detaches `device` if it is one of `file`, for a daemon that is gone. Without `device`, detaches all devices
 * of the file, which may include other pods'.
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
