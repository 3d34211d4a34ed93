import type { Snapshot } from "./snapshot.ts";

/**
 * Runs the asynchronous tasks of one object one after another, in order of arrival; a failure does not stop
 * the next. Readers (State, Wait, Stats ...) do not use the queue.
 */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  /** Tasks that have not settled. */
  #length = 0;
  /** When the running task started, by performance.now(). */
  #since = 0;

  /** Settles as `task` does. `task` starts when all tasks before it have settled. */
  run<T>(task: () => Promise<T>): Promise<T> {
    this.#length++;
    const result = this.#tail.then(() => {
      this.#since = performance.now();
      return task();
    });
    const settled = () => void this.#length--;
    this.#tail = result.then(settled, settled);
    return result;
  }

  /** Returns how many tasks wait and for how long the current one has been running; undefined if there is none. */
  describe(): Snapshot | undefined {
    if (this.#length === 0) return undefined;
    return { waiting: this.#length - 1, runningForMs: Math.round(performance.now() - this.#since) };
  }
}
