/** The global name of the counters, by place, that instrumented code increments. */
export const COUNTERS = "__hullCounters";
/** More than the number of places in all code. */
export const PLACES = 1 << 16;

/** Classes of counts per place, as in AFL: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more. */
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

/** The coverage of code that `instrument` has produced. */
export class Coverage {
  readonly #counters: Uint8Array;
  readonly #words: Uint32Array;
  readonly #seen: Uint8Array;

  /** For loaded code with this number of places. */
  constructor(places: number) {
    this.#counters = (globalThis as unknown as { [COUNTERS]: Uint8Array })[COUNTERS];
    this.#words = new Uint32Array(this.#counters.buffer, 0, Math.ceil(places / 4));
    this.#seen = new Uint8Array(this.#words.length * 4);
  }

  /** The number of places reached. */
  get places(): number {
    return this.#seen.reduce((sum, classes) => sum + (classes === 0 ? 0 : 1), 0);
  }

  /**
   * Returns whether a place, or a class of its count, has been reached for the first time. Resets the
   * counters.
   */
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

  /** Resets everything, for another target. */
  clear(): void {
    this.#counters.fill(0);
    this.#seen.fill(0);
  }
}
