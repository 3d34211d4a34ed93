import type { Deadline } from "./deadline.ts";
import { type Deferred, deferred } from "./deferred.ts";

/** Bounds how many operations run at a time. Others wait, first come, first served. */
export class Semaphore {
  #free: number;
  readonly #waiting = new Set<Deferred<void>>();

  /** @param permits how many operations may run at a time. */
  constructor(permits: number) {
    this.#free = permits;
  }

  /**
   * Waits for a permit and returns the function that releases it, which may be called more than once. Rejects
   * with the deadline's reason if that ends first.
   */
  async acquire(deadline: Deadline): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await this.#turn(deadline);
    let held = true;
    return () => {
      if (held) this.#release();
      held = false;
    };
  }

  async #turn(deadline: Deadline): Promise<void> {
    const turn = deferred<void>();
    this.#waiting.add(turn);
    try {
      await deadline.race(turn.promise);
    } catch (reason) {
      // The permit may have been granted in the same tick in which the deadline ended.
      if (!this.#waiting.delete(turn)) this.#release();
      throw reason;
    }
  }

  #release(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#free++;
      return;
    }
    this.#waiting.delete(next);
    next.resolve();
  }
}
