/**
 * Splits a stream of text into lines, in time linear in the text: a line's pieces are joined once, at its
 * end.
 */
export class LineSplitter {
  #rest = "";

  /** Characters of the unfinished line. */
  get unfinished(): number {
    return this.#rest.length;
  }

  /** Returns the lines that `text` completes, without their newlines. */
  push(text: string): string[] {
    const [first = "", ...more] = text.split("\n");
    // Reading a concatenated string makes V8 copy it, so only `text` is searched.
    const lines = [this.#rest + first, ...more];
    this.#rest = lines.pop() as string;
    return lines;
  }

  /** Drops the unfinished line. */
  clear(): void {
    this.#rest = "";
  }
}
