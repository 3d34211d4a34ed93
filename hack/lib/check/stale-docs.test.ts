import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deadLinks, staleNames } from "./stale-docs.ts";

const FILES: Readonly<Record<string, string>> = {
  "src/a.test.ts": `test("one", f); test("two: with more", f); test(\`three of \${many}\`, f);`,
  "src/b.test.ts": `test("other", f);`,
  "test/e2e": "",
};

describe("stale-docs", () => {
  const stale = (document: string) => staleNames(document, (path) => FILES[path]);

  it("accepts existing files, and names of tests after their file or in parentheses, also prefixes", () => {
    const document = `
So it is (\`src/a.test.ts\`: "one", "two").
- That, too ("three of *", "thr…"), in \`test/e2e\` ("one") and \`*.test.ts\`; it says "no" (\`src/b.test.ts\`:
  "other").
# Elsewhere
No file of tests was named ("nothing").`;
    assert.deepEqual(stale(document), []);
  });

  it("checks paths in drawings and commands", () => {
    const document =
      "```text\nsrc/a.test.ts  what it does\n  src/c.ts  more\n```\n\n    node --test src/d.ts src/*.ts\n";
    assert.deepEqual(stale(document), ["src/c.ts", "src/d.ts"]);
  });

  it("resolves paths in a README relative to its directory", () => {
    const document = `\`a.test.ts\`: "one", \`../src/b.test.ts\`: "one", \`src/c.ts\`, \`d.ts\`, \`state.json\``;
    assert.deepEqual(
      staleNames(document, (path) => FILES[path], "src"),
      ['src/b.test.ts: "one"', "src/c.ts", "src/d.ts"],
    );
    assert.deepEqual(stale(document), ["src/c.ts"]);
  });

  it("reports files that do not exist, and names that the last named file does not have", () => {
    const document = `\`src/c.ts\` (\`src/a.test.ts\`: "on", "one", "t…x") ("other") \`src/b.test.ts\` ("one")`;
    assert.deepEqual(stale(document), [
      "src/c.ts",
      'src/a.test.ts: "on"',
      'src/a.test.ts: "t…x"',
      'src/a.test.ts: "other"',
      'src/b.test.ts: "one"',
    ]);
  });

  it("finds links to files that do not exist, from the document's directory", () => {
    const document = "[a](../a.md#top) [b](b.md) [c](https://example.com/c.md) [d](#below)";
    assert.deepEqual(
      deadLinks(document, "docs/adr", (path) => path === "docs/a.md"),
      ["docs/adr/b.md"],
    );
  });
});
