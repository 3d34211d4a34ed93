import assert from "node:assert/strict";
import { test } from "node:test";
import { comparisonTable } from "./compare.ts";
import { Report } from "./report.ts";

function rowsOf(...values: [string, number][]) {
  const report = new Report();
  for (const [measure, value] of values) report.add(measure, "runc", "ms", 2 * value, value, 3 * value);
  return report.rows();
}

test("two results are compared by their minima, also rows that only one of them has", () => {
  const before = rowsOf(["start", 200], ["exec", 50], ["gone", 3]);
  const now = rowsOf(["start", 210], ["exec", 49], ["new", 7]);
  const [head = "", ...lines] = comparisonTable("v1", before, now).split("\n");
  assert.match(head, /^measure +subject +unit +v1 +now +difference$/);
  assert.deepEqual(
    lines.map((line) => line.split(/ {2,}/)),
    [
      ["start", "runc", "ms", "200", "210", "+5.0 %"],
      ["exec", "runc", "ms", "50.0", "49.0", "-2.0 %"],
      ["new", "runc", "ms", "-", "7.00"],
      ["gone", "runc", "ms", "3.00", "-"],
    ],
  );
});
