import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { transformSync } from "esbuild";
import { linesOf, merge } from "./lines.ts";
import { segments } from "./source-map.ts";

const SOURCE = `interface Unused {
  readonly a: number;
}
export function f(x: number): string {
  if (x > 1) {
    return "large";
  }
  return "small";
}
`;

describe("coverage", () => {
  it("decodes mappings across lines, also backwards", () => {
    // ECMA-426: [0,0,0,0] [4,0,2,1] on the first line, [2,0,-1,0] on the third; a segment without a source is ignored.
    assert.deepEqual(segments("AAAA,IAEC;;EADA,G"), [
      { line: 0, column: 0, sourceLine: 0 },
      { line: 0, column: 4, sourceLine: 2 },
      { line: 2, column: 2, sourceLine: 1 },
    ]);
    assert.throws(() => segments("A!"), /unexpected character !/);
  });

  const { code, map } = transformSync(SOURCE, { loader: "ts", sourcemap: true });
  const script = { lineLengths: code.split("\n").map(({ length }) => length), data: JSON.parse(map) };
  /** Returns the lines, from 1 on, that were run and that were missed, given V8's counts for pieces of the code. */
  const linesFor = (...counts: [string, number][]) => {
    const ranges = counts.map(([piece, count]) => {
      const startOffset = code.indexOf(piece);
      assert.ok(startOffset >= 0, piece);
      return { startOffset, endOffset: startOffset + piece.length, count };
    });
    const lines = linesOf(script, { functions: [{ ranges }] });
    const which = (wanted: boolean) =>
      [...lines].flatMap(([line, wasRun]) => (wasRun === wanted ? [line + 1] : []));
    return { run: which(true), missed: which(false), lines };
  };
  const body = code.slice(code.indexOf("function"), code.lastIndexOf("}") + 1);
  const branch = code.slice(code.indexOf("{", code.indexOf("if")), code.indexOf("}") + 1);

  it("uses the innermost range, and ignores lines without code", () => {
    const { run, missed } = linesFor([branch, 0], [code, 1], [body, 3]);
    assert.deepEqual(missed, [6, 7]);
    assert.ok(run.includes(5) && run.includes(8) && !run.includes(2), `${run}`);
  });

  it("merges the lines that another process has run", () => {
    const { lines } = linesFor([code, 1], [branch, 0]);
    merge(lines, linesFor([code, 1], [branch, 2]).lines);
    assert.ok([...lines.values()].every((wasRun) => wasRun));
    assert.ok([...linesOf(script).values()].every((wasRun) => !wasRun));
  });
});
