import type { Row } from "./report.ts";
import { columns, digits } from "./table.ts";

/**
 * Returns the minima of two results side by side, and the difference in percent. Rows that only one has are included. Minima,
 * because with a clock that counts instructions, chance only adds: a timer that expired meanwhile, a collection of garbage.
 */
export function comparisonTable(revision: string, before: readonly Row[], now: readonly Row[]): string {
  const rows = [...now, ...before.filter((row) => !now.some((one) => isSame(one, row)))];
  const lines = rows.map((row) => {
    const old = before.find((one) => isSame(one, row))?.min;
    const current = now.find((one) => isSame(one, row))?.min;
    const difference = old && current !== undefined ? percent(current / old - 1) : "";
    const cell = (value: number | undefined) => (value === undefined ? "-" : digits(value));
    return [row.measure, row.subject, row.unit, cell(old), cell(current), difference];
  });
  return columns([["measure", "subject", "unit", revision, "now", "difference"], ...lines]);
}

function isSame(a: Row, b: Row): boolean {
  return a.measure === b.measure && a.subject === b.subject && a.unit === b.unit;
}

function percent(share: number): string {
  const value = (share * 100).toFixed(1);
  return `${share > 0 ? "+" : ""}${value} %`;
}
