import { Deadline } from "./deadline.ts";
import { HullError } from "./errors.ts";

/** How long undoing a creation may take, in milliseconds. */
const UNDO_MS = 15_000;
/** Beyond it, at which a tool is killed: until the kernel has taken it away. One that hangs in the kernel never goes. */
const GRACE_MS = 1_000;

/**
 * Undoes a creation that has failed for `cause`, in a time of its own: that the creation's is over may be why. Resolves with
 * the error to throw: the cause, and what could not be undone. What is left stays in the ledger for the pod's clean-up.
 */
export async function undo(cause: unknown, release: (by: Deadline) => Promise<unknown>): Promise<unknown> {
  const limit = Deadline.after(UNDO_MS, "undo it");
  const end = Deadline.after(UNDO_MS + GRACE_MS, "undo it");
  try {
    await end.race(release(limit));
    return cause;
  } catch (error) {
    return HullError.notUndone(cause, HullError.from(error).message);
  } finally {
    limit.dispose();
    end.dispose();
  }
}
