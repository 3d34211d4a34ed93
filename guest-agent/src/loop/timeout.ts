import { deadlineExceeded } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";

/** Settles as `promise` does, or rejects with DeadlineExceeded `<what>: timed out after <ms> ms`. */
export function within<T>(
  sys: Pick<Sys, "setTimer" | "clearTimer">,
  ms: number,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = sys.setTimer(ms, () => reject(deadlineExceeded(`${what}: timed out after ${ms} ms`)));
    promise.then(resolve, reject).finally(() => sys.clearTimer(timer));
  });
}
