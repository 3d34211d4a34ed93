/**
 * hull beside runc: the same list of cases against both runtimes behind the same containerd, which must be told the
 * same. HULL_PARITY_DOC=FILE writes the table there (docs/parity.md is made so).
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { Containerd } from "../testkit/containerd.ts";
import { chosenLines, newestLine } from "./fixture.ts";
import { EXEC_CASES } from "./parity/exec-cases.ts";
import { expected, type Row, stale, table } from "./parity/report.ts";
import { SIGNAL_CASES } from "./parity/signal-cases.ts";
import { STATE_CASES } from "./parity/state-cases.ts";
import { STDIO_CASES } from "./parity/stdio-cases.ts";
import { Subject } from "./parity/subject.ts";
import { TERMINAL_CASES } from "./parity/terminal-cases.ts";

const CASES = [...EXEC_CASES, ...TERMINAL_CASES, ...STDIO_CASES, ...SIGNAL_CASES, ...STATE_CASES];
const DOC_HEAD = `# Parity with runc

<!-- Made by test/e2e/parity.e2e.test.ts with HULL_PARITY_DOC. Do not edit. -->

The same calls, made through containerd's API against \`io.containerd.runc.v2\` and \`io.containerd.hull.v2\` on one
machine: outputs, exit statuses, states, error codes and events are compared. What else differs is in
[limitations.md](limitations.md).

`;

const rows: Row[] = [];

// The other lines ask the shim the same things: HULL_E2E_LINES runs them, too.
const LINES = process.env.HULL_E2E_LINES ? chosenLines() : newestLine();

for (const line of LINES) {
  describe(`containerd ${line}: parity`, () => {
    let containerd: Containerd | undefined;
    let runc: Subject | undefined;
    let hull: Subject | undefined;
    before(async () => {
      containerd = await Containerd.up(line);
      [runc, hull] = await Promise.all([Subject.up(containerd, "runc"), Subject.up(containerd, "hull")]);
    });
    after(async () => {
      await Promise.all([runc?.down(), hull?.down()]);
      await containerd?.down();
    });

    for (const parity of CASES.filter(({ lines = [line] }) => lines.includes(line))) {
      it(parity.name, async () => {
        assert.ok(runc && hull, "a runtime is not up");
        const row = rows.push({ name: parity.name, line, result: "FAILED" }) - 1;
        const [reference, ours] = await Promise.all([parity.run(runc), parity.run(hull)]);
        assert.deepEqual(ours, expected(parity, reference));
        assert.ok(!stale(parity, reference), "runc does the same by now: the difference is none");
        rows[row] = { name: parity.name, line, result: parity.hull ? "differs on purpose" : "same" };
      });
    }
  });
}

after(async () => {
  const text = table(rows, CASES);
  process.stdout.write(`\n${text}\n`);
  const { HULL_PARITY_DOC: doc } = process.env;
  if (doc) await writeFile(doc, DOC_HEAD + text);
});
