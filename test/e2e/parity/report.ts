import { isDeepStrictEqual } from "node:util";
import type { Observation, ParityCase } from "./subject.ts";

/** The result of a case with one release line of containerd. */
export interface Row {
  readonly name: string;
  readonly line: string;
  readonly result: "same" | "differs on purpose" | "FAILED";
}

/** Returns the expected observation for hull, given runc's. */
export function expected(parity: ParityCase, runc: Observation): Observation {
  return parity.hull ? parity.hull.does : runc;
}

/** Returns whether a declared difference no longer exists: a stale declaration is a failure, too. */
export function stale(parity: ParityCase, runc: Observation): boolean {
  return parity.hull !== undefined && isDeepStrictEqual(parity.hull.does, runc);
}

/** Returns the rows as a Markdown table: one row per case, one column per containerd release line. */
export function table(rows: readonly Row[], cases: readonly ParityCase[]): string {
  const lines = [...new Set(rows.map(({ line }) => line))];
  const head = `| case | ${lines.map((line) => `containerd ${line}`).join(" | ")} |`;
  const body = cases
    .filter(({ name }) => rows.some((row) => row.name === name))
    .map(({ name }) => {
      const cells = lines.map(
        (line) => rows.find((row) => row.name === name && row.line === line)?.result ?? "-",
      );
      return `| ${name} | ${cells.join(" | ")} |`;
    });
  const notes = cases.flatMap(({ name, hull }) => (hull ? [`- **${name}**: ${hull.why}.`] : []));
  return `${[head, `|---|${lines.map(() => "---").join("|")}|`, ...body].join("\n")}\n\nOn purpose:\n\n${notes.join("\n")}\n`;
}
