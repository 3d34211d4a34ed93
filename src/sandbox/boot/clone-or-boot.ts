import { Deadline } from "../../core/deadline.ts";
import { Disposer } from "../../core/disposer.ts";
import { HullError } from "../../core/errors.ts";
import { CloneError } from "./start-vm.ts";

/** Time for undoing an attempt; after that, each step only gets its minimum. */
const UNDO_LIMIT_MS = 5_000;

/**
 * Runs `attempt`, as a clone if `clone` is set, and again as a boot after a CloneError. Undoes a failed
 * attempt by its disposer; if that fails there is no boot, which would use the same names.
 */
export async function cloneOrBoot<T>(
  attempt: (clone: boolean, disposer: Disposer) => Promise<T>,
  clone: boolean,
  warn: (message: string) => void,
): Promise<T> {
  const disposer = new Disposer();
  try {
    return await attempt(clone, disposer);
  } catch (error) {
    const left = await undo(disposer);
    if (left) warn(`boot: undoing it failed: ${left.message}`);
    if (!clone || !(error instanceof CloneError)) throw error;
    if (left) {
      throw new HullError(error.code, `${error.message}; not booted without a template: ${left.message}`, {
        cause: error,
      });
    }
    warn(`${error.message}; the pod is booted without a template`);
    return await cloneOrBoot(attempt, false, warn);
  }
}

/** Undoes an attempt, retrying failed steps once. Returns the error of what is left. */
async function undo(disposer: Disposer): Promise<Error | undefined> {
  // Its own timeout, because the undo must not fail when the boot has timed out.
  return await Deadline.within(UNDO_LIMIT_MS, "undo the boot", (limit) =>
    disposer.dispose(limit).catch(() => disposer.dispose(limit)),
  ).then(
    () => undefined,
    (error: Error) => error,
  );
}
