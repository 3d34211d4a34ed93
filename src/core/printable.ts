/** Control sequences of terminals: CSI, the ones that hold a string (to its end or the line's), and the short ones. */
const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are made of
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?/g;

/** What is left of them, and what reorders or breaks lines without being seen. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is for
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\p{Bidi_Control}]/gu;

/** In a Unicode expression only a surrogate without its other half is one. */
const LONE_SURROGATE = /\p{Surrogate}/gu;

/**
 * A value of somebody's JSON as text: itself where it is a string, else as JSON. String() would ask an object for the
 * `toString` that its sender gave it, and throw.
 */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : (jsonOf(value) ?? "nothing");
}

/** A value as JSON, undefined where it has none. What JSON.parse can still read may be nested too deep to be written. */
export function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return "a value that is nested too deeply";
    throw error;
  }
}

/**
 * A text of somebody who is not trusted (a guest, its console, a VMM) as it may be shown on a terminal, logged, and
 * sent on as UTF-8: at most `limit` characters, of control characters only newline and tab, no part of an escape
 * sequence. Ends of lines become newlines.
 */
export function printable(text: string, limit = Number.POSITIVE_INFINITY): string {
  const cut = text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  return cut
    .replace(/\r\n?/g, "\n")
    .replace(SEQUENCE, "")
    .replace(CONTROL, "")
    .replace(LONE_SURROGATE, "\ufffd");
}
