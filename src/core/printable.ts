/**
 * Terminal control sequences: CSI, those that contain a string (up to its end or the end of line), and short
 * ones.
 */
const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences consist of control characters
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?/g;

/** Remaining control characters, and characters that invisibly reorder or break lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\p{Bidi_Control}]/gu;

/** With the u flag, \p{Surrogate} matches only unpaired surrogates. */
const LONE_SURROGATE = /\p{Surrogate}/gu;

/**
 * Returns a value from untrusted JSON as text: a string unchanged, anything else as JSON. String() would call
 * the `toString` that the sender may have put into the object.
 */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : (jsonOf(value) ?? "nothing");
}

/**
 * Returns a value as JSON; undefined if it has none. JSON.parse accepts nesting that JSON.stringify does not.
 */
export function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return "a value that is nested too deeply";
    throw error;
  }
}

/**
 * Makes untrusted text (of a guest, its console, a VMM) safe for terminals, logs and UTF-8: at most `limit`
 * characters, no escape sequences, no control characters except newline and tab. All line ends become
 * newlines.
 */
export function printable(text: string, limit = Number.POSITIVE_INFINITY): string {
  const cut = text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  return cut
    .replace(/\r\n?/g, "\n")
    .replace(SEQUENCE, "")
    .replace(CONTROL, "")
    .replace(LONE_SURROGATE, "\ufffd");
}
