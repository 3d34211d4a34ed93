import assert from "node:assert/strict";
import { test } from "node:test";
import { unusedExports } from "./unused-exports.ts";

const EXPORTS = {
  file: "src/a/a.ts",
  text: "export const one = 1;\nexport function two() {}\nexport type Three = 3;\nfunction own() {}\n",
};

function unused(importer: string): string[] {
  return unusedExports([EXPORTS], [EXPORTS, { file: "src/b/b.ts", text: importer }]);
}

test("reports exports that no other file imports", () => {
  assert.deepEqual(unused('import { one } from "../a/a.ts";'), ["src/a/a.ts:2: two", "src/a/a.ts:3: Three"]);
  assert.equal(unused('import { one } from "./a.ts";').length, 3);
});

test("counts renamed imports, re-exports and types in import()", () => {
  const importer = 'import { one as uno } from "../a/a.ts"; export { two } from "../a/a.ts";';
  assert.deepEqual(unused(`${importer} let x: import("../a/a.ts").Three;`), []);
});

test("counts every export of a file that is imported as a namespace or at run time", () => {
  assert.deepEqual(unused('import * as a from "../a/a.ts";'), []);
  assert.deepEqual(unused('const { one } = await import("../a/a.ts");'), []);
});
