import type { Deadline } from "../core/deadline.ts";
import { unavailable } from "../core/errors.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/** How long a guest may be unresponsive, and whether it is. */
type Guest = Pick<Sandbox, "killTimeoutMs" | "unresponsiveGuest">;

/**
 * Runs a call that may take the guest until `deadline`, provided that it answers other calls. Throws Unavailable, with
 * the reason, if the guest is unresponsive for too long.
 */
export async function whileAnswering<T>(
  call: (limit: Deadline) => Promise<T>,
  guest: Guest,
  deadline: Deadline,
): Promise<T> {
  const limit = deadline.shorter(Number.POSITIVE_INFINITY);
  const calling = call(limit);
  void watch(calling, guest, limit);
  return await limit.race(calling).finally(() => limit.dispose());
}

/** Waits for half of the timeout, since most calls are done by then, and probes the guest with the other half. */
async function watch(calling: Promise<unknown>, guest: Guest, limit: Deadline): Promise<void> {
  const settled = calling.then(
    () => true,
    () => true,
  );
  for (;;) {
    const pause = limit.shorter(guest.killTimeoutMs / 2);
    const over = await pause.race(settled).catch(() => limit.reason !== undefined);
    pause.dispose();
    if (over) return;
    const answer = limit.shorter(guest.killTimeoutMs / 2);
    const unresponsive = await guest.unresponsiveGuest(answer).finally(() => answer.dispose());
    if (unresponsive) limit.cancel(unavailable(unresponsive.text));
  }
}
