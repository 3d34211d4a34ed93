import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { proseOf, usesOf, wordsOf } from "./words.ts";

const STYLE = `| \`folders?\` | not of this table |

## Words that must not come back

| not | but |
|---|---|
| \`folders?\` | directory |
| \`(take\\|takes) it for dead\` | treat as crashed |
`;

describe("words", () => {
  const words = wordsOf(STYLE);
  const uses = (text: string) => usesOf(words, text).map(({ line, text, instead }) => [line, text, instead]);

  it("finds whole words in any case, also across lines of text or comments, with their replacement", () => {
    assert.deepEqual(
      uses("A Folder.\n\nThey take it\n * for dead in subfolders.\n# it takes it\n# for dead"),
      [
        [1, "Folder", "directory"],
        [3, "take it * for dead", "treat as crashed"],
        [5, "takes it # for dead", "treat as crashed"],
      ],
    );
  });

  it("reads only the table below the heading, with alternatives", () => {
    assert.deepEqual(
      words.map(({ instead }) => instead),
      ["directory", "treat as crashed"],
    );
  });

  it("does not look into code, links and quotations of a document, and keeps its lines", () => {
    const document =
      'See `a folder`, ["that\nfolder"](/a/folder).\n```\nfolder\n```\n\nan inch "\n\nfolder " here';
    assert.deepEqual(uses(proseOf(document)), [[9, "folder", "directory"]]);
  });

  it("has a list on the style page in which every pattern is valid and matches something", () => {
    const style = readFileSync(join(import.meta.dirname, "../../../docs/contributing/style.md"), "utf8");
    const listed = wordsOf(style);
    assert.ok(listed.length > 30);
    for (const sample of [
      "folders",
      "takes that shim for dead",
      "is no boolean",
      "was told of it",
      "the monitor's",
    ])
      assert.equal(usesOf(listed, `It ${sample}.`).length, 1, sample);
    assert.deepEqual(
      usesOf(listed, "It is told not to, in front of the besides-clause, and has nothing."),
      [],
    );
  });
});
