import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { undocumented } from "./docstrings.ts";

const of = (text: string) => undocumented({ file: "src/a.ts", text });

describe("docstrings", () => {
  it("finds every kind of export without a docstring", () => {
    const kinds = [
      "function f() {}",
      "class C {}",
      "interface I {}",
      "type T = 1;",
      "enum E {}",
      "const a = 1, b = 2;",
    ];
    assert.deepEqual(of(kinds.map((kind) => `export ${kind}`).join("\n")), [
      "src/a.ts:1: f",
      "src/a.ts:2: C",
      "src/a.ts:3: I",
      "src/a.ts:4: T",
      "src/a.ts:5: E",
      "src/a.ts:6: a",
      "src/a.ts:6: b",
    ]);
    assert.deepEqual(of("// a remark\nexport async function g() {}"), ["src/a.ts:2: g"]);
  });

  it("accepts exports with a docstring, other declarations, and overloads of which one has a docstring", () => {
    const overloads =
      "/** Why. */\nexport function f(a: 1): 1;\nexport function f(a: 2): 2;\nexport function f(a: number) {}";
    assert.deepEqual(
      of(`${overloads}\nfunction g() {}\n/** So. */\nexport const a = 1;\nexport * from "./b.ts";`),
      [],
    );
  });
});
