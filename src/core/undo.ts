import { Deadline } from "./deadline.ts";
import { HullError } from "./errors.ts";

/** The timeout of an undo, in milliseconds. */
const UNDO_MS = 15_000;
/** Extra time after the timeout, when tools are killed. One that hangs in the kernel never exits. */
const GRACE_MS = 1_000;

/**
 * Undoes a creation that failed for `cause`, with a timeout of its own, because the creation's may have
 * expired. Resolves with the error to throw: the cause, plus what could not be undone, which stays in the
 * ledger for the pod's cleanup.
 */
export async function undo(cause: unknown, release: (by: Deadline) => Promise<unknown>): Promise<unknown> {
  try {
    await Deadline.within(UNDO_MS + GRACE_MS, "undo it", (end) =>
      Deadline.within(UNDO_MS, "undo it", (limit) => end.race(release(limit))),
    );
    return cause;
  } catch (error) {
    return HullError.notUndone(cause, HullError.from(error).message);
  }
}
