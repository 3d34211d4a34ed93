import { type Measure, rounds, timed } from "../context.ts";
import { runOnce } from "./start.ts";

export const burst: Measure = {
  name: "burst",
  what: "concurrent starts, compared with the same number of sequential ones",
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
      report.add(`${size} sequential runs`, subject.name, "ms", serial);
      report.add(`${size} concurrent runs`, subject.name, "ms", parallel);
      report.add("throughput, concurrent over sequential runs", subject.name, "x", serial / parallel);
    });
  },
};
