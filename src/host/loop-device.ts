import { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { run } from "./run.ts";

/** How long taking back what was begun may take. */
const UNDO_LIMIT_MS = 2_000;

/** An image file as a block device, by losetup(8). */
export interface LoopDevice {
  /** `/dev/loopN`. */
  readonly path: string;
  /** Idempotent; one that has failed can be called again. */
  detach(deadline: Deadline): Promise<void>;
}

/** `at`: where this process finds the file, which everybody else knows as `file`. */
export async function attachLoop(
  file: string,
  readOnly: boolean,
  ledger: Ledger,
  deadline: Deadline,
  at = file,
): Promise<LoopDevice> {
  const entry = await ledger.record({ kind: "loop", file });
  try {
    const how = ["--find", "--show", ...(readOnly ? ["--read-only"] : [])];
    const path = (await run(["losetup", ...how, "--", at], deadline)).trim();
    let attached = true;
    const detach = async (by: Deadline) => {
      if (attached) await run(["losetup", "--detach", path], by);
      attached = false; // its number may be another file's from here on
      await entry.forget();
    };
    return { path, detach };
  } catch (thrown) {
    // A losetup that was killed may have done it all the same; then the record stays until that is undone.
    if (deadline.reason) await undo(at);
    await entry.forget();
    throw HullError.wrap(`image file ${file}: attach it to a loop device`, thrown);
  }
}

async function undo(file: string): Promise<void> {
  const limit = Deadline.after(UNDO_LIMIT_MS, `detach ${file}`);
  await releaseLoop(file, limit).finally(() => limit.dispose());
}

/** Detaches whatever a file is attached to. For a record whose daemon is gone. */
export async function releaseLoop(file: string, deadline: Deadline): Promise<void> {
  const found = await run(["losetup", "--noheadings", "--output", "NAME", "--associated", file], deadline);
  for (const path of found.split("\n").map((line) => line.trim())) {
    if (path !== "") await run(["losetup", "--detach", path], deadline);
  }
}
