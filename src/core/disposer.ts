import { Deadline } from "./deadline.ts";
import { HullError } from "./errors.ts";

/** What one step gets while the whole has more time than that: the steps behind a hung one must have some, too. */
const MOST_MS = 2_000;
/** What every step gets, however late it is. */
const LEAST_MS = 1_000;
/** Beyond its limit, at which a process is killed: until the kernel has taken it away. */
const GRACE_MS = 1_000;

type Release = (by: Deadline) => Promise<void>;

interface Step {
  readonly name: string;
  readonly release: Release;
}

/**
 * A stack of release steps. Whatever is created pushes its release; `dispose()` runs them last-in first-out, all of
 * them, even when some fail. Those that have failed stay, and the next `dispose()` tries them again.
 */
export class Disposer {
  #steps: Step[] = [];
  #begun = false;
  #running: Promise<void> | undefined;

  /** Adds a step. Throws once disposal has begun: nothing may be created after that. */
  push(name: string, release: Release): void {
    if (this.#begun) throw new Error(`${name}: created after teardown began`);
    this.#steps.push({ name, release });
  }

  /**
   * Releases what has not been released yet. A step has two seconds, as far as `by` has them, and never less than one
   * of its own. Rejects with one AggregateError that names the steps that failed.
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
        await timed(step.name, step.release, by);
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

/** Runs a step, and gives it up when it goes on beyond its limit. */
async function timed(name: string, release: Release, by: Deadline): Promise<void> {
  const ms = Math.max(LEAST_MS, Math.min(MOST_MS, by.remainingMs));
  const limit = Deadline.after(ms, name);
  const end = Deadline.after(ms + GRACE_MS, name);
  try {
    await end.race(release(limit));
  } finally {
    limit.dispose();
    end.dispose();
  }
}
