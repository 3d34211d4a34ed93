import { canceled, deadlineExceeded, type HullError } from "./errors.ts";

type Timer = ReturnType<typeof setTimeout>;

/**
 * The time limit and cancellation of one operation. Everything in hull that can block takes one.
 * A deadline is over when its time has come, or when the deadline it was derived from is over.
 * `dispose()` frees the timer; a deadline without a time limit holds none.
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

  /** A deadline that only ends by `cancel()`. */
  static none(): Deadline {
    return new Deadline(Number.POSITIVE_INFINITY, undefined, "operation");
  }

  /** A deadline that is over after `ms` milliseconds or with this one, whichever is first. */
  shorter(ms: number, what = "operation"): Deadline {
    return new Deadline(ms, this, what);
  }

  /** Brings its end forward, to `ms` milliseconds from now; a later one than it has changes nothing. */
  shorten(ms: number, what = "operation"): void {
    if (this.#reason || ms >= this.remainingMs) return;
    this.#end = performance.now() + ms;
    clearTimeout(this.#timer);
    this.#arm(ms, what);
  }

  /** Why it is over; undefined while it is not. */
  get reason(): HullError | undefined {
    return this.#reason;
  }

  /** Milliseconds left, 0 when over, Infinity without a limit. */
  get remainingMs(): number {
    return this.#reason ? 0 : Math.max(0, this.#end - performance.now());
  }

  /** Throws the reason when the deadline is over. */
  check(): void {
    if (this.#reason) throw this.#reason;
  }

  /** Ends it now, for this reason: Canceled unless it has a class of its own. */
  cancel(why: string | HullError = "canceled by the caller"): void {
    this.#finish(typeof why === "string" ? canceled(why) : why);
  }

  /** Calls `listener` once when it is over (at once if it already is). Returns a function that takes it back. */
  onEnd(listener: (reason: HullError) => void): () => void {
    if (this.#reason) {
      listener(this.#reason);
      return () => undefined;
    }
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Settles as `promise` does, or rejects with the reason when the deadline is over first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.#reason) {
      promise.catch(() => undefined); // its failure has no reader any more
      throw this.#reason;
    }
    return await new Promise<T>((resolve, reject) => {
      const detach = this.onEnd(reject);
      promise.then(resolve, reject).finally(detach);
    });
  }

  /** Frees the timer and the link to the parent. The deadline never ends after this. */
  dispose(): void {
    clearTimeout(this.#timer);
    this.#detach?.();
    this.#listeners.clear();
  }

  #arm(ms: number, what: string): void {
    // setTimeout overflows at 2^31 ms: a longer limit is no limit.
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
