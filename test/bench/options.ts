import { parseArgs } from "node:util";
import { LINES, type Line } from "../testkit/containerd.ts";
import { MEASURES } from "./measures.ts";

/** What --lab measures: nothing that depends on several processors or takes hours under emulation. */
const LAB_MEASURES = ["start", "tasks", "memory"];

export const USAGE = `usage: hack/bench [options]

Measures hull and runc in a private containerd and prints a table.

  --quick            small numbers: to see that everything works, not for comparison
  --runs N           rounds of each latency (default 7)
  --pods N,N,...     numbers of pods whose memory is measured (default 1,5,20)
  --only NAME,...    only these measures:
${MEASURES.map(({ name, what }) => `                       ${name.padEnd(8)} ${what}`).join("\n")}
  --output-mib N     MiB sent through stdout (default 1024)
  --line LINE        release line of containerd: ${LINES.join(", ")} (default 2)
  --json FILE        also write everything as JSON
  --markdown FILE    also put the table between the markers of this page (docs/performance.md)
  --lab              measure in the emulated host of hack/lab, whose clock counts instructions, with KVM; only these measures:
                     ${LAB_MEASURES.join(", ")} (defaults: all of them, --runs 3, --pods 1,5)
  --compare REV      with --lab: measure that revision, too, and print the minima of both and the difference
  --trace            only run one container and print the timeline of its start`;

export interface Options {
  readonly quick: boolean;
  readonly runs: number;
  readonly pods: readonly number[];
  readonly only: readonly string[];
  readonly outputMib: number;
  readonly line: Line;
  readonly json: string | undefined;
  readonly markdown: string | undefined;
  readonly lab: boolean;
  /** A revision to compare with. */
  readonly compare: string | undefined;
  readonly trace: boolean;
  readonly help: boolean;
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${option}: ${text} is not a whole number above 0`);
  return value;
}

/** Parses the command line. Throws an Error that names the option. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      lab: { type: "boolean", default: false },
      compare: { type: "string" },
      trace: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
      runs: { type: "string" },
      pods: { type: "string" },
      only: { type: "string", default: "" },
      "output-mib": { type: "string" },
      line: { type: "string", default: "2" },
      json: { type: "string" },
      markdown: { type: "string" },
    },
  });
  const { quick, lab, compare } = values;
  if (compare !== undefined && !lab) throw new Error("--compare needs --lab");
  if (values.trace && lab) throw new Error("--trace and --lab cannot be combined");
  const known = lab ? LAB_MEASURES : MEASURES.map(({ name }) => name);
  const named = values.only.split(",").filter((name) => name !== "");
  for (const name of named) {
    if (!known.includes(name)) throw new Error(`--only: unknown measure ${name}${lab ? " for --lab" : ""}`);
  }
  const only = lab && named.length === 0 ? LAB_MEASURES : named;
  const line = LINES.find((known) => known === values.line);
  if (!line) throw new Error(`--line: ${values.line} is not one of ${LINES.join(", ")}`);
  return {
    quick,
    lab,
    compare,
    trace: values.trace,
    help: values.help,
    runs: whole("--runs", values.runs ?? (quick ? "2" : lab ? "3" : "7")),
    pods: (values.pods ?? (quick ? "1,2" : lab ? "1,5" : "1,5,20"))
      .split(",")
      .map((text) => whole("--pods", text)),
    only,
    outputMib: whole("--output-mib", values["output-mib"] ?? (quick ? "16" : "1024")),
    line,
    json: values.json,
    markdown: values.markdown,
  };
}
