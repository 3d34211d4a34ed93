import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cycles } from "./cycles.ts";
import { importsOf } from "./sources.ts";

/** Returns the cycles among files with these contents. */
const cyclesOf = (files: Readonly<Record<string, string>>) =>
  cycles(importsOf(Object.entries(files).map(([file, text]) => ({ file, text }))));

describe("import cycles", () => {
  it("finds none if files only share imports", () => {
    const shared = { "src/c.ts": "export const c = 1;" };
    const [a, b] = [`import "./b.ts"; import "./c.ts"; import "node:fs";`, `import "./c.ts"; import "gone";`];
    assert.deepEqual(cyclesOf({ "src/a.ts": a, "src/b.ts": b, ...shared }), []);
  });

  it("finds cycles through types, re-exports and dynamic imports", () => {
    for (const back of [
      `import type { A } from "../a.ts";`,
      `export * from "../a.ts";`,
      `await import("../a.ts");`,
    ])
      assert.deepEqual(cyclesOf({ "src/a.ts": `import "./deep/b.ts";`, "src/deep/b.ts": back }), [
        "src/a.ts -> src/deep/b.ts -> src/a.ts",
      ]);
  });

  it("reports each of several cycles once", () => {
    const found = cyclesOf({
      "a.ts": `import "./b.ts";`,
      "b.ts": `import "./c.ts";`,
      "c.ts": `import "./a.ts"; import "./d.ts";`,
      "d.ts": `import "./c.ts";`,
    });
    assert.deepEqual(found, ["a.ts -> b.ts -> c.ts -> a.ts", "c.ts -> d.ts -> c.ts"]);
  });
});
