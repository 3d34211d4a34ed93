import { Deadline } from "./deadline.ts";

/**
 * A stack of release steps. Whatever is created pushes its release; `dispose()` runs them last-in first-out,
 * all of them, even when some fail, and only once.
 */
export class Disposer {
  readonly #steps: { name: string; release: (by: Deadline) => Promise<void> }[] = [];
  #done: Promise<void> | undefined;

  /** Adds a step. Throws when the stack has been disposed already: nothing may be created after that. */
  push(name: string, release: (by: Deadline) => Promise<void>): void {
    if (this.#done !== undefined) throw new Error(`${name}: created after teardown began`);
    this.#steps.push({ name, release });
  }

  get disposed(): boolean {
    return this.#done !== undefined;
  }

  /** Releases everything, each step within `by`. Rejects with one AggregateError that names the steps that failed. */
  dispose(by: Deadline = Deadline.none()): Promise<void> {
    this.#done ??= this.#run(by);
    return this.#done;
  }

  async #run(by: Deadline): Promise<void> {
    const failures: Error[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.release(by);
      } catch (error) {
        failures.push(
          new Error(`${step.name}: ${error instanceof Error ? error.message : error}`, { cause: error }),
        );
      }
    }
    if (failures.length > 0) {
      throw new AggregateError(
        failures,
        `teardown: ${failures.map((failure) => failure.message).join("; ")}`,
      );
    }
  }
}
