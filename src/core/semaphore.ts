import type { Deadline } from "./deadline.ts";
import { type Deferred, deferred } from "./deferred.ts";

/** Bounds how many do something at a time. Who comes later waits, first come, first served. */
export class Semaphore {
  #free: number;
  readonly #waiting = new Set<Deferred<void>>();

  /** @param permits how many there are at a time. */
  constructor(permits: number) {
    this.#free = permits;
  }

  /**
   * Resolves with the function that gives the permit back, once there is one; calling it again does nothing. Rejects
   * with the deadline's reason when that is over first.
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
      // The permit may have come in the same tick as the deadline's end.
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
