import { HullError } from "../../../src/core/errors.ts";
import type { Measure } from "../context.ts";
import type { DirectShim } from "../direct-shim.ts";
import { idle, memoryOf } from "../processes.ts";
import { percentile } from "../samples.ts";
import { withContainer } from "../shims.ts";

const IN_FLIGHT = 64;

/** Resolves with the latencies of sequential calls, in ms. */
async function oneByOne(count: number, call: () => Promise<unknown>): Promise<number[]> {
  const latencies: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await call();
    latencies.push(performance.now() - begin);
  }
  return latencies;
}

/** Resolves with the calls per second with many in flight. */
async function atOnce(count: number, call: () => Promise<unknown>): Promise<number> {
  let left = count;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (left-- > 0) await call();
    }),
  );
  return count / ((performance.now() - begin) / 1000);
}

function callOf(shim: DirectShim, name: "State" | "Stats"): () => Promise<unknown> {
  const { id } = shim.place;
  if (name === "State") return () => shim.task.state({ id, execId: "" });
  return () => shim.task.stats({ id });
}

export const calls: Measure = {
  name: "calls",
  what: "State and Stats: latency, calls per second, and the shim's memory afterwards",
  limitSeconds: 600,
  async run(bench) {
    const { report } = bench;
    for (const subject of bench.subjects) {
      bench.progress(`calls: ${subject.name}`);
      await withContainer(bench, subject, { args: ["sleep", "1000"] }, async (shim) => {
        const pid = await shim.shimPid();
        await idle(bench.quick);
        report.add("private memory of an idle shim", subject.name, "MiB", (await memoryOf(pid)).private);
        for (const [name, count] of [
          ["State", bench.calls],
          // Stats goes to the guest and is slower: fewer are enough.
          ["Stats", Math.ceil(bench.calls / 50)],
        ] as const) {
          const call = callOf(shim, name);
          try {
            await call();
          } catch (error) {
            const { code, message } = HullError.from(error);
            report.omit(name, subject.name, `${code}: ${message}`);
            continue;
          }
          const latencies = await oneByOne(Math.ceil(count / 2), call);
          report.add(`${name}, p50`, subject.name, "ms", percentile(latencies, 0.5));
          report.add(`${name}, p99`, subject.name, "ms", percentile(latencies, 0.99));
          report.add(
            `${name}, ${IN_FLIGHT} at a time`,
            subject.name,
            "calls/s",
            await atOnce(Math.ceil(count / 2), call),
          );
          if (name !== "State") continue;
          await idle(bench.quick);
          const after = (await memoryOf(pid)).private;
          report.add(`private memory after ${count} State calls, idle again`, subject.name, "MiB", after);
        }
      });
    }
  },
};
