import { Containerd } from "../testkit/containerd.ts";
import type { Bench, Measure } from "./context.ts";
import { benchInLab } from "./in-lab.ts";
import { load, machine } from "./machine.ts";
import { MEASURES } from "./measures.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { Report } from "./report.ts";
import { publish } from "./result.ts";
import { prepareSubjects } from "./subject.ts";
import { trace, traceLines } from "./trace.ts";

const NAMESPACE = "bench";

/** Runs a measure; a failure is reported and does not affect the others. */
async function runMeasure(measure: Measure, bench: Bench): Promise<void> {
  bench.progress(`== ${measure.name}: ${measure.what}`);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `timed out after ${measure.limitSeconds} s`;
    timer = setTimeout(() => reject(new Error(message)), measure.limitSeconds * 1000);
  });
  try {
    await Promise.race([measure.run(bench), late]);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    bench.report.omit(`${measure.name} (remaining measurements)`, "all", reason);
    bench.progress(`${measure.name} failed: ${reason}`);
    process.exitCode = 1;
  } finally {
    clearTimeout(timer);
  }
}

async function measureAll(options: Options, containerd: Containerd): Promise<void> {
  const { all, absent } = await prepareSubjects(containerd.directory);
  let ids = 0;
  const bench: Bench = {
    containerd,
    ctr: await containerd.namespace(NAMESPACE),
    namespace: NAMESPACE,
    subjects: all,
    report: new Report(),
    runs: options.runs,
    pods: options.pods,
    outputMib: options.outputMib,
    calls: options.quick ? 200 : 10_000,
    quick: options.quick,
    id: (prefix) => `${prefix}-${++ids}`,
    progress: (text) => void process.stderr.write(`bench: ${text}\n`),
  };
  if (options.trace) {
    for (const subject of all.filter(({ name }) => name !== "runc")) {
      console.log([`${subject.name}:`, ...traceLines(await trace(bench, subject)), ""].join("\n"));
    }
    return;
  }
  const before = load();
  const chosen = MEASURES.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
  for (const { name, reason } of absent) bench.report.omit("everything", name, reason);
  for (const measure of chosen) {
    await runMeasure(measure, bench);
  }
  const result = {
    machine: machine(),
    containerd: options.line,
    quick: options.quick,
    load: { before, after: load() },
    rows: bench.report.rows(),
    omissions: bench.report.omissions,
  };
  await publish(options, result, "bench", []);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    console.log(USAGE);
    return;
  }
  if (options.lab) {
    await benchInLab(options);
    return;
  }
  const containerd = await Containerd.up(options.line);
  let down: Promise<void> | undefined;
  const stop = () => {
    down ??= containerd.down();
    return down;
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    await measureAll(options, containerd);
  } finally {
    await stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`hack/bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
});
