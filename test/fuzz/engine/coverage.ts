/** The global name of the counters that instrumented code increments, by the number of the place. */
export const COUNTERS = "__hullCounters";
/** More places than all code has. */
export const PLACES = 1 << 16;

/** Counts of one place fall into these classes: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more (as AFL has them). */
const CLASS = Uint8Array.from({ length: 256 }, (_, count) =>
  count < 4
    ? ([0, 1, 2, 4][count] ?? 0)
    : count < 8
      ? 8
      : count < 16
        ? 16
        : count < 32
          ? 32
          : count < 128
            ? 64
            : 128,
);

/** What code that `instrument` has made has gone through. */
export class Coverage {
  readonly #counters: Uint8Array;
  readonly #words: Uint32Array;
  readonly #seen: Uint8Array;

  /** Of code that is loaded and has `places`. */
  constructor(places: number) {
    this.#counters = (globalThis as unknown as { [COUNTERS]: Uint8Array })[COUNTERS];
    this.#words = new Uint32Array(this.#counters.buffer, 0, Math.ceil(places / 4));
    this.#seen = new Uint8Array(this.#words.length * 4);
  }

  /** Places that were come to. */
  get places(): number {
    return this.#seen.reduce((sum, classes) => sum + (classes === 0 ? 0 : 1), 0);
  }

  /** Whether a place was come to, or as often, for the first time since the last call. */
  isNew(): boolean {
    let found = false;
    for (let word = 0; word < this.#words.length; word++) {
      if (this.#words[word] === 0) continue;
      for (let place = word * 4; place < word * 4 + 4; place++) {
        const its = CLASS[this.#counters[place] ?? 0] ?? 0;
        this.#counters[place] = 0;
        const seen = this.#seen[place] ?? 0;
        if ((its & ~seen) === 0) continue;
        this.#seen[place] = seen | its;
        found = true;
      }
    }
    return found;
  }

  /** Forgets everything: for another target. */
  clear(): void {
    this.#counters.fill(0);
    this.#seen.fill(0);
  }
}
