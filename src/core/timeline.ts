/** One line of a timeline: what was done, and when. */
export interface Mark {
  readonly name: string;
  /** Milliseconds since this process started. */
  readonly ms: number;
}

/** More marks than a start has are not kept: a timeline is of one start, not of a pod's life. */
const MOST = 64;

/**
 * When the steps of a start were done. `performance.now()` counts from the start of the process, so the time that
 * the runtime itself takes to come up is in it. A mark costs less than a microsecond.
 */
export class Timeline {
  readonly #marks: Mark[] = [];

  mark(name: string): void {
    if (this.#marks.length < MOST) this.#marks.push({ name, ms: performance.now() });
  }

  /**
   * The marks in order, in ms with one decimal, relative to `since` (Unix time in ms; without it to the start of this
   * process). `since` may lie before the process's start: what came before it is then in every mark.
   */
  marks(since: number = performance.timeOrigin): Mark[] {
    const shift = performance.timeOrigin - since;
    return this.#marks.map(({ name, ms }) => ({ name, ms: Math.round((ms + shift) * 10) / 10 }));
  }
}
