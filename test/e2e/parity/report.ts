import { isDeepStrictEqual } from "node:util";
import type { Observation, ParityCase } from "./subject.ts";

/** How a case went with one line of containerd. */
export interface Row {
  readonly name: string;
  readonly line: string;
  readonly result: "same" | "differs on purpose" | "FAILED";
}

/** What hull has to show in this case, where runc showed `runc`. */
export function expected(parity: ParityCase, runc: Observation): Observation {
  return parity.hull ? parity.hull.does : runc;
}

/** Whether a declared difference still is one: a stale excuse is a failure, too. */
export function stale(parity: ParityCase, runc: Observation): boolean {
  return parity.hull !== undefined && isDeepStrictEqual(parity.hull.does, runc);
}

/** The rows as a Markdown table: a case a row, a line of containerd a column. */
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
