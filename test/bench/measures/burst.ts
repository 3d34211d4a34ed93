import { type Measure, rounds, timed } from "../context.ts";
import { runOnce } from "./start.ts";

export const burst: Measure = {
  name: "burst",
  what: "starts at once against the same number one after another",
  limitSeconds: 1800,
  async run(bench) {
    const size = bench.quick ? 2 : 10;
    const { report } = bench;
    await rounds(bench, bench.quick ? 1 : 3, bench.subjects, async (subject) => {
      const serial = await timed(async () => {
        for (let i = 0; i < size; i++) await runOnce(bench, subject);
      });
      const parallel = await timed(() =>
        Promise.all(Array.from({ length: size }, () => runOnce(bench, subject))),
      );
      report.add(`${size} runs one after another`, subject.name, "ms", serial);
      report.add(`${size} runs at once`, subject.name, "ms", parallel);
      report.add("throughput of runs at once over one after another", subject.name, "x", serial / parallel);
    });
  },
};
