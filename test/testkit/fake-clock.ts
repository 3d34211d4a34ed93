import type { TestContext } from "node:test";

/** A clock for one test: timers and `performance.now()` advance only through `pass`. */
export class FakeClock {
  #now = 0;
  readonly #timers: TestContext["mock"]["timers"];

  constructor({ mock }: TestContext) {
    this.#timers = mock.timers;
    mock.timers.enable({ apis: ["setTimeout"] });
    mock.method(performance, "now", () => this.#now);
  }

  /** Lets milliseconds pass. Resolves when everything that needs no further timer has happened. */
  async pass(ms: number): Promise<void> {
    this.#now += ms;
    this.#timers.tick(ms);
    await new Promise(setImmediate);
  }
}
