import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { procStatFields } from "../../src/core/proc-stat.ts";

/** Allowed growth at peak: twice the garbage of a flood of frames between two collections of V8. */
const MEMORY_MIB = 96;
/**
 * Maximum median latency of State: a shim whose event loop is blocked answers none. A single call may be
 * slow.
 */
const USUAL_STATE_MS = 1_000;
const LONGEST_STATE_MS = 10_000;
/** Interval between checks. */
const STEP_MS = 50;
/** Share of one CPU below which a shim counts as idle. */
const IDLE_SHARE = 0.5;
const IDLE_WINDOW_MS = 400;
const IDLE_WITHIN_MS = 30_000;
/** Duration of a clock tick (proc_pid_stat(5)). */
const TICK_MS = 10;

type Call = () => Promise<unknown>;

/** Watches a shim and the latency of State while its guest misbehaves. */
export class ShimWatch {
  readonly #pid: number;
  readonly #calls: readonly Call[];
  readonly #idleMib: number;
  readonly #latencies: number[] = [];
  #on = true;
  readonly #looking: Promise<void>;

  private constructor(pid: number, calls: readonly Call[], idleMib: number) {
    this.#pid = pid;
    this.#calls = calls;
    this.#idleMib = idleMib;
    this.#looking = this.#look();
    this.#looking.catch(() => undefined); // `end` reports it
  }

  /** Starts to watch. `calls`: State of the shim's pod, and of another. */
  static async begin(pid: number, calls: readonly Call[]): Promise<ShimWatch> {
    // Resets the peak (proc_pid_clear_refs(5)); the kernel records every later one, however short.
    await writeFile(`/proc/${pid}/clear_refs`, "5");
    return new ShimWatch(pid, calls, await peakMib(pid));
  }

  /** Resolves after this many more rounds of calls. */
  async rounds(count: number): Promise<void> {
    const enough = this.#latencies.length + count * this.#calls.length;
    while (this.#latencies.length < enough && this.#on) await Promise.race([sleep(STEP_MS), this.#looking]);
  }

  /** Resolves when the shim is idle. */
  async idle(): Promise<void> {
    for (const end = performance.now() + IDLE_WITHIN_MS; ; ) {
      const [time, used] = [performance.now(), await processorMs(this.#pid)];
      await sleep(IDLE_WINDOW_MS);
      const share = ((await processorMs(this.#pid)) - used) / (performance.now() - time);
      if (share < IDLE_SHARE) return;
      assert.ok(
        performance.now() < end,
        `the shim uses ${share.toFixed(2)} of a processor and does not stop`,
      );
    }
  }

  /** Stops watching; rejects if a bound was exceeded. Resolves with a summary. */
  async end(): Promise<string> {
    this.#on = false;
    await this.#looking;
    const grown = (await peakMib(this.#pid)) - this.#idleMib;
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    const usual = sorted[sorted.length >> 1] ?? 0;
    const longest = sorted.at(-1) ?? 0;
    const seen = `+${grown.toFixed(0)} MiB, State ${usual.toFixed(0)} ms, at most ${longest.toFixed(0)} ms`;
    assert.ok(grown < MEMORY_MIB, `the shim's memory: ${seen}`);
    assert.ok(usual < USUAL_STATE_MS && longest < LONGEST_STATE_MS, seen);
    return seen;
  }

  async #look(): Promise<void> {
    while (this.#on) {
      await Promise.all(
        this.#calls.map(async (call) => {
          const begin = performance.now();
          await call();
          this.#latencies.push(performance.now() - begin);
        }),
      );
      await sleep(STEP_MS);
    }
  }
}

/** VmHWM of proc_pid_status(5). */
async function peakMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

async function processorMs(pid: number): Promise<number> {
  const fields = procStatFields(await readFile(`/proc/${pid}/stat`, "utf8"));
  return (Number(fields[14]) + Number(fields[15])) * TICK_MS;
}
