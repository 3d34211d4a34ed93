import { Deadline } from "../../core/deadline.ts";
import { Disposer } from "../../core/disposer.ts";
import { HullError } from "../../core/errors.ts";
import { CloneError } from "./start-vm.ts";

/** How long undoing an attempt may take as a whole, before each step has no more than its least time. */
const UNDO_LIMIT_MS = 5_000;

/**
 * Runs `attempt` as a clone where `clone` is set, and once more without when that is what failed. An attempt pushes
 * what it makes; when it fails that is undone. The names are the same in both, so the second one begins only when all
 * of the first is gone: where it is not, the failure says so, and the ledger has what is left.
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

/** Takes back what an attempt made; what fails is tried once more. Returns what is left. */
async function undo(disposer: Disposer): Promise<Error | undefined> {
  // A limit of its own: undoing must not fail because the boot ran out of time.
  return await Deadline.within(UNDO_LIMIT_MS, "undo the boot", (limit) =>
    disposer.dispose(limit).catch(() => disposer.dispose(limit)),
  ).then(
    () => undefined,
    (error: Error) => error,
  );
}
