import type { Containerd } from "../testkit/containerd.ts";
import type { Ctr } from "../testkit/ctr.ts";
import type { Report } from "./report.ts";
import type { Subject } from "./subject.ts";

/** What every measure is given. */
export interface Bench {
  readonly containerd: Containerd;
  readonly ctr: Ctr;
  readonly namespace: string;
  readonly subjects: readonly Subject[];
  readonly report: Report;
  /** Rounds of each latency measure. */
  readonly runs: number;
  /** Numbers of pods whose memory is measured. */
  readonly pods: readonly number[];
  /** MiB that go through stdout. */
  readonly outputMib: number;
  /** Calls of State and Stats. */
  readonly calls: number;
  /** Everything is scaled down: to see that it works, not to compare. */
  readonly quick: boolean;
  /** A name that no container had before. */
  id(prefix: string): string;
  /** One line about what is under way, to standard error. */
  progress(text: string): void;
}

export interface Measure {
  /** For `--only`. */
  readonly name: string;
  readonly what: string;
  /** Longest time that it may take, seconds. */
  readonly limitSeconds: number;
  run(bench: Bench): Promise<void>;
}

/** Runs `step` for every subject in turn, `rounds` times, so that each round measures all under the same load. */
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

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}
