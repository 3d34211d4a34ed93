/** Bytes that a match may have if it arrives in pieces. */
const LONGEST = 100;

/** Looks for a pattern in a stream, of which it keeps only the last 100 bytes. */
export class StreamMatcher {
  #end = "";

  constructor(readonly pattern: RegExp) {}

  /** Whether the pattern matches in `data`, or across it and the 100 bytes before it. */
  matches(data: Buffer): boolean {
    const text = this.#end + data.toString("latin1");
    this.#end = text.slice(-LONGEST);
    return this.pattern.test(text);
  }
}
