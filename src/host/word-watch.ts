/** Bytes that words may have, to be found also where they come in pieces. */
const LONGEST = 100;

/** Looks for words in a stream, and at each of its bytes as often as it comes, not again with all that follows. */
export class WordWatch {
  #end = "";

  constructor(readonly words: RegExp) {}

  /** Whether the words are in `data`, or in it and what came right before it. */
  comesWith(data: Buffer): boolean {
    const text = this.#end + data.toString("latin1");
    this.#end = text.slice(-LONGEST);
    return this.words.test(text);
  }
}
