import type { Containerd } from "../testkit/containerd.ts";
import type { Ctr } from "../testkit/ctr.ts";
import type { Report } from "./report.ts";
import type { Subject } from "./subject.ts";

/** The context of every measure. */
export interface Bench {
  readonly containerd: Containerd;
  readonly ctr: Ctr;
  readonly namespace: string;
  readonly subjects: readonly Subject[];
  readonly report: Report;
  /** Number of rounds of each latency measure. */
  readonly runs: number;
  /** Numbers of pods whose memory is measured. */
  readonly pods: readonly number[];
  /** MiB to send through stdout. */
  readonly outputMib: number;
  /** Number of State and Stats calls. */
  readonly calls: number;
  /** Scale everything down: a trial run, not for comparison. */
  readonly quick: boolean;
  /** Returns an unused container name. */
  id(prefix: string): string;
  /** Prints a line about the current step to standard error. */
  progress(text: string): void;
}

export interface Measure {
  /** For `--only`. */
  readonly name: string;
  readonly what: string;
  /** Timeout in seconds. */
  readonly limitSeconds: number;
  run(bench: Bench): Promise<void>;
}

/**
 * Runs `step` for every subject in turn, `rounds` times, so that each round measures all under the same load.
 */
export async function rounds(
  bench: Bench,
  count: number,
  subjects: readonly Subject[],
  step: (subject: Subject, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < count; round++) {
    for (const subject of subjects) {
      bench.progress(`round ${round + 1} of ${count}: ${subject.name}`);
      await step(subject, round);
    }
  }
}

/** Resolves with the duration of `work` in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}
