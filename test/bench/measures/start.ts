import { join } from "node:path";
import { BUSYBOX } from "../../testkit/ctr.ts";
import { type Bench, type Measure, rounds } from "../context.ts";
import { RawBoot } from "../raw-boot.ts";
import { runFlags, type Subject } from "../subject.ts";

const OUTPUT = "run to first output";
const RAW = "boot to a listening agent";

/** Resolves with the ms from the call of `ctr run --rm` to the first byte of output and to ctr's exit. */
export async function runOnce(bench: Bench, subject: Subject): Promise<{ first: number; end: number }> {
  const begin = performance.now();
  const running = bench.ctr.start([
    ...["run", "--rm", ...runFlags(subject), BUSYBOX, bench.id("run")],
    ...["echo", "first"],
  ]);
  // If ctr fails before any output, `ended` has a better error than `printed`.
  const printed = running.printed("first").then(() => performance.now() - begin);
  printed.catch(() => undefined);
  const { code, stderr } = await running.ended;
  if (code !== 0) throw new Error(`ctr run with ${subject.name}: status ${code}: ${stderr}`);
  return { first: await printed, end: performance.now() - begin };
}

export const start: Measure = {
  name: "start",
  what: "ctr run to the first byte and to its exit, compared with QEMU alone with the same guest",
  limitSeconds: 900,
  async run(bench) {
    const { report, containerd, subjects } = bench;
    const cold = subjects.find(({ name }) => name === "hull cold");
    const raw = cold?.config
      ? await RawBoot.prepare(cold.config, join(containerd.directory, "bench"))
      : undefined;
    // The first run of each fills caches, detects the accelerator and builds the template: it does not count.
    await rounds(bench, 1, subjects, async (subject) => {
      const { first } = await runOnce(bench, subject);
      report.add("first run ever", subject.name, "ms", first);
    });
    for (let round = 0; round < bench.runs; round++) {
      const boot = await raw?.run();
      if (boot) {
        report.add(RAW, "QEMU", "ms", boot.ms);
        report.add("RSS of the agent after boot", "QEMU", "MiB", boot.agentRssMib);
      }
      for (const subject of subjects) {
        bench.progress(`start ${round + 1} of ${bench.runs}: ${subject.name}`);
        const { first, end } = await runOnce(bench, subject);
        report.add(OUTPUT, subject.name, "ms", first);
        report.add("run to ctr's exit", subject.name, "ms", end);
        if (subject === cold && boot) {
          report.add("hull's part: first output minus QEMU's boot", subject.name, "ms", first - boot.ms);
        }
      }
    }
  },
};
