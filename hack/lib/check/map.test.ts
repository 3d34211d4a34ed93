import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDeps } from "./deps.ts";
import { drawing, firstSentence, graphOf, table, withMap } from "./map.ts";
import { upwardCalls } from "./ways.ts";

const GRAPH = graphOf(
  parseDeps(`core:
host: core
sandbox: core host
pod: core host sandbox/sandbox.ts
shim: core pod
shim/io: core host pod/stdio.ts`),
);

describe("the map", () => {
  it("has the directories right below src, with what those within them may import", () => {
    assert.deepEqual([...GRAPH.keys()], ["core", "host", "sandbox", "pod", "shim"]);
    assert.deepEqual([...(GRAPH.get("shim") ?? [])], ["core", "pod", "host"]);
  });

  it("draws the top first, and no arrow that a longer way includes", () => {
    const arrows = "  shim --> pod\n  pod --> sandbox\n  sandbox --> host\n  host --> core\n  core\n";
    assert.equal(drawing(GRAPH), `\`\`\`mermaid\nflowchart TD\n${arrows}\`\`\`\n`);
    const two = new Map([["a", new Set(["c", "b"])]]);
    assert.match(drawing(two), /a --> b & c/);
  });

  it("refuses directories that import each other", () => {
    const cyclic = new Map(["a", "b"].map((name) => [name, new Set([name === "a" ? "b" : "a"])]));
    assert.throws(() => drawing(cyclic), /a cycle of directories: a -> b -> a/);
  });

  it("says what a directory holds by the first sentence of its README", () => {
    assert.equal(
      firstSentence("# core\n\nErrors, [deadlines](x.md)\nand `a.ts`. More.\n\nMore."),
      "Errors, deadlines and `a.ts`.",
    );
    assert.equal(firstSentence("# core\n\nWithout an end\n"), "Without an end");
    const row = "| [`src/a`](../src/a/README.md) | X \\| Y. |\n";
    assert.ok(table([{ directory: "src/a", readme: "# a\n\nX | Y." }]).endsWith(row));
  });

  it("replaces what is between the marks, and nothing else", () => {
    const marks = /^<!-- .* -->$/gm;
    const page = `a\n<!-- The map: made by hack/generate from DEPS.list and the READMEs. Do not edit. -->\nold\n<!-- End of the map. -->\nz\n`;
    const once = withMap(page, "new\n");
    assert.deepEqual(once.replace(marks, "-").split("\n"), ["a", "-", "", "new", "", "-", "z", ""]);
    assert.equal(withMap(once, "new\n"), once);
    assert.throws(() => withMap("no marks", "new\n"), /marks of the map are missing/);
  });
});

describe("the ways of data", () => {
  const draw = (...lines: string[]) => `\`\`\`text\n${lines.join("\n")}\n\`\`\`\n`;

  it("go down, or stay where they are; a line without indentation begins a new one", () => {
    const way = draw(
      "src/shim/a.ts",
      "  src/pod/b.ts  why",
      "    src/pod/c.ts",
      "    src/host/d.ts",
      "  src/core/e.ts",
    );
    assert.deepEqual(upwardCalls(way + draw("src/core/a.ts", "src/shim/b.ts"), GRAPH), []);
  });

  it("are refused when they go up", () => {
    const way = draw(
      "src/shim/a.ts",
      "  src/sandbox/b.ts",
      "    src/pod/c.ts",
      "  src/host/d.ts",
      "  guest-agent/src/e.ts",
    );
    assert.deepEqual(upwardCalls(way, GRAPH), [
      "src/sandbox/b.ts -> src/pod/c.ts",
      "src/shim/a.ts -> guest-agent/src/e.ts",
    ]);
  });
});
