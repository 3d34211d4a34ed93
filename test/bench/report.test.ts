import assert from "node:assert/strict";
import { test } from "node:test";
import { Report } from "./report.ts";
import { fillMarkdown, markdownTable, textTable } from "./table.ts";

function sample(): Report {
  const report = new Report();
  report.add("first output", "runc", "ms", 100, 110, 120);
  report.add("shim PSS", "hull cold", "MiB", 9);
  report.add("first output", "hull cold", "ms", 1000, 1100, 1200);
  return report;
}

test("rows of a measure are grouped and compared with runc", () => {
  const rows = sample().rows();
  assert.deepEqual(
    rows.map(({ measure, subject, median, ratio, base }) => ({ measure, subject, median, ratio, base })),
    [
      { measure: "first output", subject: "runc", median: 110, ratio: undefined, base: undefined },
      { measure: "first output", subject: "hull cold", median: 1100, ratio: 10, base: "runc" },
      { measure: "shim PSS", subject: "hull cold", median: 9, ratio: undefined, base: undefined },
    ],
  );
});

test("tables name measure, subject, numbers and ratio", () => {
  const rows = sample().rows();
  assert.match(textTable(rows), /hull cold +ms +3 +1000 +1100 +1200 +10\.0x runc/);
  assert.match(
    markdownTable(rows),
    /\| first output \| hull cold \| ms \| 3 \| 1000 \| 1100 \| 1200 \| 10\.0x runc \|/,
  );
});

test("markdown is inserted between the markers only", () => {
  const text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n";
  assert.equal(
    fillMarkdown(text, "bench", "new"),
    "before\n<!-- bench -->\n\nnew\n\n<!-- /bench -->\nafter\n",
  );
  assert.throws(() => fillMarkdown("no markers", "bench", "new"), /markers/);
});
