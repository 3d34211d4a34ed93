/**
 * Cuts a stream of text into lines. The time it takes grows with the text, not with the number of pieces in which it comes: a
 * line is joined once, at its end.
 */
export class LineSplitter {
  #rest = "";

  /** Characters of the line that has not ended yet. */
  get unfinished(): number {
    return this.#rest.length;
  }

  /** The lines that `text` ends, without their ends. */
  push(text: string): string[] {
    const [first = "", ...more] = text.split("\n");
    // Looking into what was concatenated makes V8 copy all of it.
    const lines = [this.#rest + first, ...more];
    this.#rest = lines.pop() as string;
    return lines;
  }

  /** Forgets the line that has not ended yet. */
  clear(): void {
    this.#rest = "";
  }
}
