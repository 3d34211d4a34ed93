import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parseSkipList, skipsIn, unlistedSkips } from "./skips.ts";

const folder = mkdtempSync(join(tmpdir(), "hull-skips-"));
after(() => rmSync(folder, { recursive: true }));

/** The spec report of a test file with this text, made by the node that runs the suites. */
function reportOf(text: string): string {
  const file = join(folder, "some.test.cjs");
  writeFileSync(file, `const { describe, it, test } = require("node:test");\n${text}`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // else it reports to this run
  return spawnSync(process.execPath, ["--test", "--test-reporter=spec", file], { env, encoding: "utf8" })
    .stdout;
}

const SKIPS = `
  test("listed (with brackets)", { skip: "no KVM: # why" }, () => {});
  test("unlisted", { skip: "no KVM: # why" }, () => {});
  test("skips itself", (t) => t.skip("later"));
  test("without a reason", { skip: true }, () => {});
  describe("a whole suite", { skip: "guest image is missing" }, () => it("lost", () => {}));
  describe("outer", () => it("inner", { skip: "deep" }, () => {}));
  test("to be done", { todo: true }, () => { throw new Error("fails"); });
  test("passes", () => {});
`;

describe("check-skips", () => {
  const report = reportOf(SKIPS);
  const names = (list: string) => unlistedSkips(report, parseSkipList(list)).map(({ name }) => name);
  const all = [
    "listed (with brackets)",
    "unlisted",
    "skips itself",
    "without a reason",
    "a whole suite",
    "inner",
  ];

  it("finds every skip, that of a whole suite and what is still to be done", () => {
    assert.deepEqual(names("# nothing\n").sort(), [...all, "to be done"].sort());
  });

  it("allows a listed name with the listed reason only", () => {
    assert.ok(!names("listed (with brackets)\tno KVM*").includes("listed (with brackets)"));
    assert.ok(names("listed (with brackets)\tno KVM*").includes("unlisted"));
    assert.ok(names("unlisted\tno vsock").includes("unlisted"));
    assert.deepEqual(names("*\t*"), []);
  });

  it("refuses a list or a report that it cannot read", () => {
    assert.throws(() => parseSkipList("name without a reason"), /not: test name, tab, reason/);
    assert.throws(() => skipsIn("✔ something else"), /counts NaN skipped tests/);
    assert.throws(() => skipsIn("ℹ skipped 3\n"), /counts 3 skipped tests and names 0/);
  });
});
