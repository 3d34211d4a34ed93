/**
 * hack/fault: breaks components of pods at every step of their life cycle, and reports what the client got
 * and what is left.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { LINES, type Line } from "../testkit/containerd.ts";
import { FaultyInstallation } from "./installation.ts";
import { Lane } from "./lane.ts";
import { allCases, ciCases, type FaultCase } from "./matrix.ts";
import { printResult, report } from "./report.ts";
import { type Result, runCase } from "./run.ts";

/** Number of concurrent cases, each with its own containerd. */
const LANES = 3;

const USAGE = `usage: hack/fault [options]

  --all          every case, instead of those that CI runs
  --match TEXT   only cases whose names contain TEXT; can be repeated, then all texts
  --name NAME    only this case, for example one of the last report; can be repeated
  --part N/M     the N-th of M equal parts
  --list         print the names of the cases and run none
  --seconds N    start no case after that time
  --lanes N      cases that run at the same time, each with its own containerd (default ${LANES})
  --line LINE    release line of containerd: ${LINES.join(", ")} (default 2)`;

/** Prints a reason, if any, and the usage, and exits. */
function usage(reason?: string): never {
  if (reason === undefined) console.log(USAGE);
  else console.error(`hack/fault: ${reason}\n\n${USAGE}`);
  process.exit(reason === undefined ? 0 : 2);
}

function parse() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}

const OPTIONS = {
  all: { type: "boolean", default: process.env.HULL_FAULT_ALL === "1" },
  help: { type: "boolean", short: "h", default: false },
  match: { type: "string", multiple: true, default: [] },
  name: { type: "string", multiple: true, default: [] },
  part: { type: "string" },
  seconds: { type: "string", default: "86400" },
  list: { type: "boolean", default: false },
  lanes: { type: "string", default: String(LANES) },
  line: { type: "string", default: "2" },
} as const satisfies ParseArgsConfig["options"];

const values = parse();
if (values.help) usage();

function chosen(): FaultCase[] {
  const { all, match, part, name: names } = values;
  if (names.length > 0) return allCases().filter(({ name }) => names.includes(name));
  const cases = (all ? allCases() : ciCases()).filter(({ name }) =>
    match.every((text) => name.includes(text)),
  );
  if (part === undefined) return cases;
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(part) ?? [];
  if (index === undefined) usage(`--part ${part}: must be N/M, for example 1/4 for the first of four parts`);
  return cases.filter((_, place) => place % Number(count) === Number(index) - 1);
}

function lineOf(name: string): Line {
  const line = LINES.find((one) => one === name);
  if (!line) usage(`--line ${name}: must be one of ${LINES.join(", ")}`);
  return line;
}

async function main(): Promise<boolean> {
  const cases = chosen();
  if (cases.length === 0) usage("no case has such a name; --all --list prints all names");
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
