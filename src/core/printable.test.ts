import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonOf, printable, textOf } from "./printable.ts";

const cases: [string, string, string][] = [
  ["colours", "\x1b[1;31mred\x1b[0m", "red"],
  ["a cleared screen", "a\x1b[2J\x1b[Hb\x1bcc", "abc"],
  ["the window's title", "a\x1b]0;rm -rf /\x07b", "ab"],
  ["a clipboard, ended by ST", "a\x1b]52;c;cm0=\x1b\\b", "ab"],
  ["a device control string", "a\x1bP$q q\x1b\\b", "ab"],
  ["the same in C1", "a\x9b31mb\x9d0;title\x9cc\x90q\x9cd", "abcd"],
  ["a string that never ends hides no other line", "a\x1b]0;title\nKernel panic", "a\nKernel panic"],
  ["a sequence that is cut off", "a\x1b[31", "a"],
  ["character sets", "a\x1b(0b\x1b)Bc", "abc"],
  ["backspaces and bells", "ok\b\b\x07no", "okno"],
  ["DEL and NEL", "a\x7fb\x85c", "abc"],
  ["line ends", "a\r\nb\rc\n\td", "a\nb\nc\n\td"],
  ["reordering", "a\u202eb\u2066c\u2028d", "abcd"],
  ["halves of pairs", "\ud800a\udc00 \u{1f600}", "\ufffda\ufffd \u{1f600}"],
  ["other languages", "größer – 大きい", "größer – 大きい"],
];

for (const [what, raw, shown] of cases) {
  test(`made printable: ${what}`, () => assert.equal(printable(raw), shown));
}

test("text that is too long is cut without leaving half a surrogate pair", () => {
  assert.equal(printable("abcdef", 6), "abcdef");
  assert.equal(printable("abcdefg", 6), "abcde…");
  assert.equal(printable("abcd\u{1f600}g", 6), "abcd\ufffd…");
});

test("no text keeps terminal control sequences or exceeds the limit", () => {
  const hostile = fc.string({
    unit: fc.constantFrom("\x1b", "[", "]", "m", "\x9b", "\x07", "\\", "\r", "\n", "\ud800", "a", "\u202e"),
  });
  fc.assert(
    fc.property(hostile, fc.integer({ min: 1, max: 20 }), (text, limit) => {
      const shown = printable(text, limit);
      assert.ok(shown.length <= limit);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the test looks for control characters
      assert.doesNotMatch(shown, /[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
      assert.equal(Buffer.from(shown).toString("utf8"), shown);
    }),
  );
});

test("a megabyte of unterminated sequences is handled in linear time", () => {
  assert.equal(printable("\x1b]".repeat(1 << 19)), "");
  assert.equal(printable("\x1b[".repeat(1 << 19)), "");
});

test("a value that is nested too deeply for JSON.stringify still has a text", () => {
  const deep: unknown = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
  assert.match(textOf(deep), /too deep/);
  assert.match(jsonOf({ deep }) ?? "", /too deep/);
  assert.equal(textOf(["a"]), '["a"]');
});
