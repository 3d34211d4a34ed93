import { Deadline } from "./deadline.ts";
import { HullError } from "./errors.ts";
import { releaseWithin } from "./release-within.ts";

/** The longest timeout of a step that has none of its own, so that the steps after a hung one still get some of the total. */
const MOST_MS = 2_000;
/** The timeout of a step when the total is used up. */
const LEAST_MS = 1_000;

type Release = (by: Deadline) => Promise<void>;

interface Step {
  readonly name: string;
  readonly release: Release;
  readonly mostMs: number;
}

/**
 * A stack of release steps. Creating something pushes its release; `dispose()` runs all of them, last in,
 * first out, even if some fail. Failed steps stay on the stack, and the next `dispose()` retries them.
 */
export class Disposer {
  #steps: Step[] = [];
  #begun = false;
  #running: Promise<void> | undefined;

  /**
   * Adds a step, which may take up to `mostMs`. Throws once disposal has begun, because nothing may be created after that.
   */
  push(name: string, release: Release, mostMs = MOST_MS): void {
    if (this.#begun) throw new Error(`${name}: created after teardown began`);
    this.#steps.push({ name, release, mostMs });
  }

  /**
   * Releases everything that is still held. Each step gets up to its timeout (2 s) of what `by` has left, and at least 1 s.
   * Rejects with one AggregateError that names the failed steps.
   */
  dispose(by: Deadline = Deadline.none()): Promise<void> {
    this.#begun = true;
    this.#running ??= this.#run(by).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(by: Deadline): Promise<void> {
    const failures: Error[] = [];
    const failed: Step[] = [];
    for (const step of this.#steps.toReversed()) {
      try {
        const ms = Math.max(LEAST_MS, Math.min(step.mostMs, by.remainingMs));
        await releaseWithin(ms, step.name, step.release);
      } catch (error) {
        failed.unshift(step);
        failures.push(new Error(`${step.name}: ${HullError.from(error).message}`, { cause: error }));
      }
    }
    this.#steps = failed;
    if (failures.length > 0) {
      throw new AggregateError(
        failures,
        `teardown: ${failures.map((failure) => failure.message).join("; ")}`,
      );
    }
  }
}
