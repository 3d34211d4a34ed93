import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parseSkipList, skipsIn, unlistedSkips } from "./skips.ts";

const directory = mkdtempSync(join(tmpdir(), "hull-skips-"));
after(() => rmSync(directory, { recursive: true }));

/** Returns the spec report of a test file with this text, from the Node that runs this test. */
function reportOf(text: string): string {
  const file = join(directory, "some.test.cjs");
  writeFileSync(file, `const { describe, it, test } = require("node:test");\n${text}`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // with it, the file would report to this run
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

  it("finds every skip, also of suites, and every TODO", () => {
    assert.deepEqual(names("# nothing\n").sort(), [...all, "to be done"].sort());
  });

  it("allows a listed name only with the listed reason", () => {
    assert.ok(!names("listed (with brackets)\tno KVM*").includes("listed (with brackets)"));
    assert.ok(names("listed (with brackets)\tno KVM*").includes("unlisted"));
    assert.ok(names("unlisted\tno vsock").includes("unlisted"));
    assert.deepEqual(names("*\t*"), []);
  });

  it("rejects malformed lists and reports", () => {
    assert.throws(() => parseSkipList("name without a reason"), /not: test name, tab, reason/);
    assert.throws(() => skipsIn("✔ something else"), /counts NaN skipped tests/);
    assert.throws(() => skipsIn("ℹ skipped 3\n"), /counts 3 skipped tests and names 0/);
  });
});
