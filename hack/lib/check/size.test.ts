import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { longFunctions, quantile } from "./size.ts";

const of = (text: string) => longFunctions({ file: "src/a.ts", text }, 3);

describe("sizes", () => {
  it("finds every kind of function that is too long, not counting its docstring", () => {
    const body = "{\n1;\n2;\n}";
    assert.deepEqual(of(`/** One.\n * Two.\n */\nfunction f() {\n1;\n}`), []);
    assert.deepEqual(of(`function f() ${body}`), ["src/a.ts: f"]);
    assert.deepEqual(of(`const g = () => ${body};`), ["src/a.ts: g"]);
    assert.deepEqual(of(`class C { constructor() ${body}\nm() ${body} }`), [
      "src/a.ts: constructor",
      "src/a.ts: m",
    ]);
    assert.deepEqual(of(`call(() => ${body});`), ["src/a.ts: an anonymous function"]);
  });

  it("computes quantiles", () => {
    const sizes = [10, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    assert.equal(quantile(sizes, 0.5), 6);
    assert.equal(quantile(sizes, 0.9), 10);
    assert.equal(quantile([], 0.9), 0);
  });
});
