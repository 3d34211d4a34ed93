import type { Deadline } from "./deadline.ts";
import { HullError } from "./errors.ts";
import { releaseWithin } from "./release-within.ts";

/** The timeout of an undo, in milliseconds. */
const UNDO_MS = 15_000;

/**
 * Undoes a creation that failed for `cause`, with a timeout of its own, because the creation's may have
 * expired. Resolves with the error to throw: the cause, plus what could not be undone, which stays in the
 * ledger for the pod's cleanup.
 */
export async function undo(cause: unknown, release: (by: Deadline) => Promise<unknown>): Promise<unknown> {
  try {
    await releaseWithin(UNDO_MS, "undo it", release);
    return cause;
  } catch (error) {
    return HullError.notUndone(cause, HullError.from(error).message);
  }
}
