/** One entry of a timeline: a step that was done, and when. */
export interface Mark {
  readonly name: string;
  /** Milliseconds since this process started. */
  readonly ms: number;
}

/** A timeline covers one start, which has fewer marks; later ones are dropped. */
const MOST = 64;

/**
 * When the steps of a start were done. `performance.now()` counts from the start of the process, so that the
 * startup of the JavaScript runtime is included. A mark costs less than a microsecond.
 */
export class Timeline {
  readonly #marks: Mark[] = [];

  mark(name: string): void {
    if (this.#marks.length < MOST) this.#marks.push({ name, ms: performance.now() });
  }

  /**
   * Returns the marks in order, in ms with one decimal, relative to `since` (Unix time in ms; default: the
   * start of this process). With an earlier `since`, every mark includes the time before the process started.
   */
  marks(since: number = performance.timeOrigin): Mark[] {
    const shift = performance.timeOrigin - since;
    return this.#marks.map(({ name, ms }) => ({ name, ms: Math.round((ms + shift) * 10) / 10 }));
  }
}
