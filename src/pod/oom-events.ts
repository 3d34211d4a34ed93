/** Events that may come at once, as many processes of a container can be killed for one lack of memory. */
const BURST = 10;
/** How long it takes until there may be one more. */
const INTERVAL_MS = 1_000;

/**
 * How often a container's OOM kills are told of. The guest says how many there are, and a queue of events that are not
 * worth their number would leave no room for the exits of the pod.
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

  /** Whether this one is to be told. */
  next(): boolean {
    const gained = Math.floor((this.#now() - this.#countedAt) / INTERVAL_MS);
    this.#left = Math.min(BURST, this.#left + gained);
    this.#countedAt += gained * INTERVAL_MS;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}
