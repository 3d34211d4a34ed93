import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Mark } from "../../src/core/timeline.ts";
import type { Bench } from "./context.ts";
import { runOnce } from "./measures/start.ts";
import type { Subject } from "./subject.ts";

/** How long the shim's log may take to appear in containerd's log. */
const ARRIVAL_MS = 5_000;
const POLL_MS = 50;

interface Timeline {
  /** When the shim's `start` began, Unix time in ms. */
  readonly since: number;
  readonly marks: readonly Mark[];
}

/** Returns the last timeline in containerd's log for a start after `after` (Unix time in ms). */
function find(log: string, namespace: string, after: number): Timeline | undefined {
  for (const line of log.split("\n").reverse()) {
    if (!line.startsWith("{") || !line.includes('"timeline"')) continue;
    const entry = JSON.parse(line) as { namespace: string; since: number; timeline: Mark[] };
    if (entry.namespace === namespace && entry.since >= after) {
      return { since: entry.since, marks: entry.timeline };
    }
  }
  return undefined;
}

/**
 * Returns the lines of a timeline: ms since the client's call, ms since the previous line, completed step.
 */
export function traceLines(marks: readonly Mark[]): string[] {
  const lines = ["      ms    step"];
  let before = 0;
  for (const { name, ms } of marks) {
    lines.push(`${ms.toFixed(1).padStart(8)} ${`+${(ms - before).toFixed(1)}`.padStart(8)}  ${name}`);
    before = ms;
  }
  return lines;
}

/** Runs a container and resolves with the duration of each step, from ctr's call to its exit. */
export async function trace(bench: Bench, subject: Subject): Promise<Mark[]> {
  await runOnce(bench, subject); // fills caches
  const called = Date.now();
  const { first, end } = await runOnce(bench, subject);
  const log = join(bench.containerd.directory, "containerd.log");
  const giveUp = performance.now() + ARRIVAL_MS;
  for (;;) {
    const found = find(await readFile(log, "utf8"), bench.namespace, called);
    if (found) {
      const shift = found.since - called;
      return [
        { name: "ctr: called", ms: 0 },
        { name: "shim: start called", ms: shift },
        ...found.marks.map(({ name, ms }) => ({ name, ms: ms + shift })),
        { name: "ctr: first byte of output", ms: first },
        { name: "ctr: ended", ms: end },
      ].sort((a, b) => a.ms - b.ms);
    }
    if (performance.now() > giveUp) throw new Error(`${log} holds no timeline of the start`);
    await sleep(POLL_MS);
  }
}
