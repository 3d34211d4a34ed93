import assert from "node:assert/strict";
import { test } from "node:test";
import { roff } from "./roff.ts";

/** Returns the page's lines after its header. */
const body = (markdown: string): string[] =>
  roff({ name: "a-b", section: 5 }, "1.2.3", markdown).trimEnd().split("\n").slice(1);

test("the header has name, section and version, and no date", () => {
  assert.equal(roff({ name: "a-b", section: 5 }, "1.2.3", ""), '.TH A\\-B 5 "" "hull 1.2.3" "hull manual"\n');
});

test("headings, paragraphs and comments", () => {
  assert.deepEqual(
    body("# Title\n\n<!-- not\nthis -->\n## One `two`\n\nA line\nand another.\n\n### `a.b`\n\nC."),
    ['.SH "ONE TWO"', ".PP", "A line and another.", '.SS "a.b"', ".PP", "C."],
  );
});

test("lists have no empty lines, definitions have their term on a line of its own", () => {
  assert.deepEqual(body("- one\n  more\n- two\n\n1. first\n\n`-f` *x*\n: what it is\n  for"), [
    ".IP \\(bu 2",
    "one more",
    ".PD 0",
    ".IP \\(bu 2",
    "two",
    ".PD",
    ".PD 0",
    ".IP 1. 4",
    "first",
    ".PD",
    ".TP",
    "\\fB\\-f\\fR \\fIx\\fR",
    "what it is for",
  ]);
});

test("code is copied unchanged, even if roff would read a request", () => {
  const lines = [".PP", ".RS 4", ".EX", "\\&.x \\-y \\(aqz\\(aq \\e", "  in", ".EE", ".RE"];
  assert.deepEqual(body("```sh\n.x -y 'z' \\\n  in\n```"), lines);
  assert.deepEqual(body("    .x -y 'z' \\\n      in"), lines);
});

test("text that roff would read as a request or an escape stays text", () => {
  assert.deepEqual(body(".B is a \\macro…"), [".PP", "\\&.B is a \\emacro\\[u2026]"]);
  assert.deepEqual(body("see **a**(1), [here](b.md), `c-d`"), [
    ".PP",
    "see \\fBa\\fR(1), here, \\fBc\\-d\\fR",
  ]);
});
