import type { Deadline } from "../core/deadline.ts";
import { unavailable } from "../core/errors.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/** How long a guest may be silent, and whether it is. */
type Patience = Pick<Sandbox, "killTimeoutMs" | "unresponsiveGuest">;

/**
 * Runs a call that may take the guest as long as its caller has time, provided that the guest answers other calls. One
 * that is silent for too long is not waited for: Unavailable, with what keeps it from answering.
 */
export async function whileAnswering<T>(
  call: (limit: Deadline) => Promise<T>,
  patience: Patience,
  deadline: Deadline,
): Promise<T> {
  const limit = deadline.shorter(Number.POSITIVE_INFINITY);
  const calling = call(limit);
  void watch(calling, patience, limit);
  return await limit.race(calling).finally(() => limit.dispose());
}

/** Half of the time it only waits, since most calls are done by then; the guest has the other half for its answer. */
async function watch(calling: Promise<unknown>, sandbox: Patience, limit: Deadline): Promise<void> {
  const settled = calling.then(
    () => true,
    () => true,
  );
  for (;;) {
    const pause = limit.shorter(sandbox.killTimeoutMs / 2);
    const over = await pause.race(settled).catch(() => limit.reason !== undefined);
    pause.dispose();
    if (over) return;
    const answer = limit.shorter(sandbox.killTimeoutMs / 2);
    const silent = await sandbox.unresponsiveGuest(answer).finally(() => answer.dispose());
    if (silent) limit.cancel(unavailable(silent.text));
  }
}
