import assert from "node:assert/strict";
import { printable } from "../../../src/core/printable.ts";
import { lastLines, RingBuffer } from "../../../src/host/ring-buffer.ts";
import { StreamMatcher } from "../../../src/host/stream-matcher.ts";
import { piecesOf } from "../engine/pieces.ts";
import type { Target } from "../engine/target.ts";

/** Control characters of terminals, line breaks, bidirectional controls, and lone surrogates. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
const OBEYED = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
const CAPACITY = 300;
const FATAL = /panicked at/;

/** A guest's console, or a helper's stderr, as it is kept, searched, shown and quoted in errors. */
export const consoleBytes: Target = {
  name: "console",
  seeds: [
    "[    0.000000] Linux version 6.1.0\r\n\u001b[0;32m OK \u001b[0m Started x\r\n\u001b]0;title\u0007é€😀\n",
    "\u001b[1;31mpanic\u001b[m\r\n\u001bP1$r0m\u001b\\ \u009b2J\u0090q\u009c\u202eevil\u2069\n",
  ],
  tokens: ["panicked at", "\u001b", "\u009b", "\u001b]", "\u001bP", "\u0007", "\u001b\\", "\ud83d", "\u2028"],
  run(input) {
    const ring = new RingBuffer(CAPACITY);
    const matcher = new StreamMatcher(FATAL);
    let fatal = false;
    for (const piece of piecesOf(input)) {
      ring.write(piece);
      fatal = matcher.matches(Buffer.from(piece)) || fatal;
    }
    assert.equal(fatal, FATAL.test(input.toString("latin1")), "words are found however they are cut");
    assert.equal(ring.length, Math.min(CAPACITY, input.length));
    const text = ring.text();
    assert.ok(text.length <= CAPACITY, "longer than what was kept");
    assert.doesNotMatch(text, OBEYED);
    assert.doesNotMatch(text, /\p{Surrogate}/u);
    assert.equal(printable(text), text, "what was shown once is shown the same again");
    const lines = lastLines(input.toString("utf8"), 5).split("\n");
    assert.ok(lines.length <= 5 && lines.every((line) => line.length <= 500));
    assert.doesNotMatch(printable(input.toString("utf16le"), 100), OBEYED);
    return true;
  },
};
