/**
 * hack/fault: breaks components of pods at every step of their life cycle, and reports what the client got
 * and what is left. `--all` runs the whole matrix, `--match TEXT` the cases whose names contain the text,
 * `--list` only lists them, `--name NAME` (repeatable) runs cases by name, e.g. those of the last report,
 * `--part N/M` the N-th of M equal parts; `--seconds N` starts no case after that time, `--lanes N` runs N
 * cases at a time, `--line L` selects another containerd.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { LINES, type Line } from "../testkit/containerd.ts";
import { FaultyInstallation } from "./installation.ts";
import { Lane } from "./lane.ts";
import { allCases, ciCases, type FaultCase } from "./matrix.ts";
import { printResult, report } from "./report.ts";
import { type Result, runCase } from "./run.ts";

/** Number of concurrent cases, each with its own containerd. */
const LANES = 3;

const { values } = parseArgs({
  options: {
    all: { type: "boolean", default: process.env.HULL_FAULT_ALL === "1" },
    match: { type: "string", multiple: true, default: [] },
    name: { type: "string", multiple: true, default: [] },
    part: { type: "string" },
    seconds: { type: "string", default: "86400" },
    list: { type: "boolean", default: false },
    lanes: { type: "string", default: String(LANES) },
    line: { type: "string", default: "2" },
  },
});

function chosen(): FaultCase[] {
  const { all, match, part, name: names } = values;
  if (names.length > 0) return allCases().filter(({ name }) => names.includes(name));
  const cases = (all ? allCases() : ciCases()).filter(({ name }) =>
    match.every((text) => name.includes(text)),
  );
  if (part === undefined) return cases;
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(part) ?? [];
  if (index === undefined)
    throw new Error(`--part ${part}: must be N/M, for example 1/4 for the first of four parts`);
  return cases.filter((_, place) => place % Number(count) === Number(index) - 1);
}

function lineOf(name: string): Line {
  const line = LINES.find((one) => one === name);
  if (!line) throw new Error(`--line ${name}: must be one of ${LINES.join(", ")}`);
  return line;
}

async function main(): Promise<boolean> {
  const cases = chosen();
  if (values.list) {
    for (const { name } of cases) console.log(name);
    console.log(`${cases.length} cases`);
    return true;
  }
  const line = lineOf(values.line);
  const directory = await mkdtemp(join(tmpdir(), "hull-fault-"));
  const templates = await mkdtemp("/dev/shm/hull-fault-");
  const results: Result[] = [];
  const waiting = [...cases];
  const begun = Date.now();
  const late = () => Date.now() - begun > 1000 * Number(values.seconds);
  try {
    const installation = await FaultyInstallation.create(join(directory, "hull"));
    const work = async (index: number) => {
      const lane = await Lane.up({ index, line, installation, templates });
      try {
        for (let next = waiting.shift(); next && !late(); next = waiting.shift()) {
          const result = await runCase(lane, next);
          results.push(result);
          printResult(result);
        }
      } finally {
        await lane.down();
      }
    };
    await Promise.all(Array.from({ length: Number(values.lanes) }, (_, index) => work(index)));
  } finally {
    await rm(directory, { recursive: true, force: true });
    await rm(templates, { recursive: true, force: true });
  }
  console.log(`\n${Math.round((Date.now() - begun) / 1000)} s`);
  const passed = report(results);
  if (results.length < cases.length) console.error(`${cases.length - results.length} cases were not run`);
  return passed;
}

main().then(
  (passed) => process.exit(passed ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
