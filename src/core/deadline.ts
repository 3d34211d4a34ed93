import { canceled, deadlineExceeded, type HullError } from "./errors.ts";

type Timer = ReturnType<typeof setTimeout>;

/**
 * The timeout and cancellation of one operation. Everything in hull that can block takes one. A deadline ends
 * when it expires, when it is cancelled, or when its parent ends. `dispose()` frees its timer.
 */
export class Deadline {
  readonly #listeners = new Set<(reason: HullError) => void>();
  #reason: HullError | undefined;
  #timer: Timer | undefined;
  #detach: (() => void) | undefined;
  #end: number;

  private constructor(ms: number, parent: Deadline | undefined, what: string) {
    this.#end = Math.min(performance.now() + ms, parent ? parent.#end : Number.POSITIVE_INFINITY);
    if (parent?.reason) {
      this.#reason = parent.reason;
      return;
    }
    this.#arm(ms, what);
    this.#detach = parent?.onEnd((reason) => this.#finish(reason));
  }

  /** A deadline `ms` milliseconds from now; `what` names the operation in the error. */
  static after(ms: number, what = "operation"): Deadline {
    return new Deadline(ms, undefined, what);
  }

  /** Runs `action` with a deadline `ms` milliseconds from now, and disposes of the deadline afterwards. */
  static async within<T>(ms: number, what: string, action: (limit: Deadline) => Promise<T>): Promise<T> {
    const limit = Deadline.after(ms, what);
    try {
      return await action(limit);
    } finally {
      limit.dispose();
    }
  }

  /** A deadline that never expires; it ends only through `cancel()`. */
  static none(): Deadline {
    return new Deadline(Number.POSITIVE_INFINITY, undefined, "operation");
  }

  /** A deadline that ends after `ms` milliseconds or with this one, whichever comes first. */
  shorter(ms: number, what = "operation"): Deadline {
    return new Deadline(ms, this, what);
  }

  /**
   * Brings the end forward to `ms` milliseconds from now. Does nothing if the deadline ends earlier anyway.
   */
  shorten(ms: number, what = "operation"): void {
    if (this.#reason || ms >= this.remainingMs) return;
    this.#end = performance.now() + ms;
    clearTimeout(this.#timer);
    this.#arm(ms, what);
  }

  /** Why the deadline ended; undefined before that. */
  get reason(): HullError | undefined {
    return this.#reason;
  }

  /** Milliseconds until it ends: 0 after the end, Infinity without a timeout. */
  get remainingMs(): number {
    return this.#reason ? 0 : Math.max(0, this.#end - performance.now());
  }

  /** Throws the reason if the deadline has ended. */
  check(): void {
    if (this.#reason) throw this.#reason;
  }

  /** Ends the deadline now with `why`; a string becomes a Canceled error. */
  cancel(why: string | HullError = "canceled by the caller"): void {
    this.#finish(typeof why === "string" ? canceled(why) : why);
  }

  /**
   * Calls `listener` once, when the deadline ends, or now if it has. Returns a function that unregisters it.
   */
  onEnd(listener: (reason: HullError) => void): () => void {
    if (this.#reason) {
      listener(this.#reason);
      return () => undefined;
    }
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Settles as `promise` does, or rejects with the reason if the deadline ends first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.#reason) {
      promise.catch(() => undefined); // nobody awaits it any more
      throw this.#reason;
    }
    return await new Promise<T>((resolve, reject) => {
      const detach = this.onEnd(reject);
      promise.then(resolve, reject).finally(detach);
    });
  }

  /** Frees the timer and detaches from the parent. The deadline never ends after this. */
  dispose(): void {
    clearTimeout(this.#timer);
    this.#detach?.();
    this.#listeners.clear();
  }

  #arm(ms: number, what: string): void {
    // setTimeout overflows at 2^31 ms, so a longer timeout counts as none.
    if (!(ms < 2 ** 31)) return;
    const over = () => this.#finish(deadlineExceeded(`${what}: timed out after ${ms} ms`));
    this.#timer = setTimeout(over, Math.max(0, ms));
  }

  #finish(reason: HullError): void {
    if (this.#reason) return;
    this.#reason = reason;
    const listeners = [...this.#listeners];
    this.dispose();
    for (const listener of listeners) listener(reason);
  }
}
