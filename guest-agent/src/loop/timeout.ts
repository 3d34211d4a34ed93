import { deadlineExceeded } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";

/** Settles as `promise` does, or rejects with DeadlineExceeded `<what>: not done within <ms> ms`. */
export function within<T>(
  sys: Pick<Sys, "setTimer" | "clearTimer">,
  ms: number,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = sys.setTimer(ms, () => reject(deadlineExceeded(`${what}: not done within ${ms} ms`)));
    promise.then(resolve, reject).finally(() => sys.clearTimer(timer));
  });
}
