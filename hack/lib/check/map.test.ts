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
  it("has the directories right below src, with the imports of their subdirectories", () => {
    assert.deepEqual([...GRAPH.keys()], ["core", "host", "sandbox", "pod", "shim"]);
    assert.deepEqual([...(GRAPH.get("shim") ?? [])], ["core", "pod", "host"]);
  });

  it("draws the top first, and no arrow if there is a longer path", () => {
    const arrows = "  shim --> pod\n  pod --> sandbox\n  sandbox --> host\n  host --> core\n  core\n";
    assert.equal(drawing(GRAPH), `\`\`\`mermaid\nflowchart TD\n${arrows}\`\`\`\n`);
    const two = new Map([["a", new Set(["c", "b"])]]);
    assert.match(drawing(two), /a --> b & c/);
  });

  it("refuses directories that import each other", () => {
    const cyclic = new Map(["a", "b"].map((name) => [name, new Set([name === "a" ? "b" : "a"])]));
    assert.throws(() => drawing(cyclic), /a cycle of imports: a -> b -> a/);
  });

  it("describes a directory by the first sentence of its README", () => {
    assert.equal(
      firstSentence("# core\n\nErrors, [deadlines](x.md)\nand `a.ts`. More.\n\nMore."),
      "Errors, deadlines and `a.ts`.",
    );
    assert.equal(firstSentence("# core\n\nWithout an end\n"), "Without an end");
    const row = "| [`src/a`](../src/a/README.md) | X \\| Y. |\n";
    assert.ok(table([{ directory: "src/a", readme: "# a\n\nX | Y." }]).endsWith(row));
  });

  it("replaces only the text between the marks", () => {
    const marks = /^<!-- .* -->$/gm;
    const page = `a\n<!-- The map: made by hack/generate from DEPS.list and the READMEs. Do not edit. -->\nold\n<!-- End of the map. -->\nz\n`;
    const once = withMap(page, "new\n");
    assert.deepEqual(once.replace(marks, "-").split("\n"), ["a", "-", "", "new", "", "-", "z", ""]);
    assert.equal(withMap(once, "new\n"), once);
    assert.throws(() => withMap("no marks", "new\n"), /marks of the map are missing/);
  });
});

describe("the drawings of calls", () => {
  const draw = (...lines: string[]) => `\`\`\`text\n${lines.join("\n")}\n\`\`\`\n`;

  const imports = new Map([["src/pod/c.ts", ["src/pod/b.ts"]]]);

  it("go down, or stay in their directory; a line without indentation starts a new one", () => {
    const way = draw(
      "src/shim/a.ts",
      "  src/pod/b.ts  why",
      "    src/pod/d.ts",
      "    src/host/d.ts",
      "  src/core/e.ts",
    );
    assert.deepEqual(upwardCalls(way + draw("src/core/a.ts", "src/shim/b.ts"), GRAPH, imports), []);
  });

  it("are refused if they go up, to another directory or to a file that imports the caller", () => {
    const way = draw(
      "src/shim/a.ts",
      "  src/pod/b.ts",
      "    src/pod/c.ts",
      "  src/sandbox/b.ts",
      "    src/pod/c.ts",
      "  src/host/d.ts",
      "  guest-agent/src/e.ts",
    );
    assert.deepEqual(upwardCalls(way, GRAPH, imports), [
      "src/pod/b.ts -> src/pod/c.ts",
      "src/sandbox/b.ts -> src/pod/c.ts",
      "src/shim/a.ts -> guest-agent/src/e.ts",
    ]);
  });
});
