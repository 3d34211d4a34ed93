/** Events that may be published at once: one shortage of memory can kill many processes of a container. */
const BURST = 10;
/** Time until one more may be published. */
const INTERVAL_MS = 1_000;

/**
 * Limits how many OOM events of a container are published. The guest decides how many it reports; a flood of them must
 * not displace the exits in the pod's event queue.
 */
export class OomEvents {
  #left = BURST;
  #countedAt: number;
  readonly #now: () => number;

  /** `now` is in milliseconds. */
  constructor(now = () => performance.now()) {
    this.#now = now;
    this.#countedAt = now();
  }

  /** Returns whether the next event may be published, and counts it if so. */
  next(): boolean {
    const gained = Math.floor((this.#now() - this.#countedAt) / INTERVAL_MS);
    this.#left = Math.min(BURST, this.#left + gained);
    this.#countedAt += gained * INTERVAL_MS;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}
