import { createHash } from "node:crypto";
import { constants, openSync } from "node:fs";
import { Socket } from "node:net";
import type { Readable } from "node:stream";

/** Bytes kept as text; counts and checksums cover everything. */
const KEPT = 1 << 20;

/** Collects the content of a stream and waits for expected text. */
export class OutputReader {
  readonly #stream: Readable;
  readonly #hash = createHash("sha256");
  readonly #waiting = new Set<() => void>();
  #text = "";
  #bytes = 0;
  #over = false;
  /** Resolves at end of file, or when it is closed. */
  readonly ended: Promise<void>;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      this.#hash.update(chunk);
      this.#bytes += chunk.length;
      if (this.#text.length < KEPT) this.#text += chunk.toString("utf8");
      for (const check of this.#waiting) check();
    });
    this.ended = new Promise((resolve, reject) => {
      stream.on("error", reject);
      const end = () => {
        this.#over = true;
        for (const check of this.#waiting) check();
        resolve();
      };
      stream.on("end", end);
      stream.on("close", end);
    });
    this.ended.catch(() => undefined); // the caller that awaits it gets the error
  }

  /** Opens the reading end of a stream's FIFO, as containerd's clients do. */
  static fifo(path: string): OutputReader {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    // unref: a stream without a writer, of a refused exec, must not keep the test process alive.
    return new OutputReader(new Socket({ fd, readable: true, writable: false }).unref());
  }

  get text(): string {
    return this.#text;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the hex sha256 of everything; may be called once. */
  sha256(): string {
    return this.#hash.digest("hex");
  }

  /** Stops reading until `resume`, as a slow client. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  close(): void {
    this.#stream.destroy();
  }

  /** Resolves when the text contains `expected`; rejects at end of file or after `withinMs`. */
  async printed(expected: string | RegExp, withinMs = 60_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) =>
        reject(new Error(`${why} without ${expected}: ${JSON.stringify(this.#text.slice(-2000))}`));
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const check = () => {
        const there =
          typeof expected === "string" ? this.#text.includes(expected) : expected.test(this.#text);
        if (there) finish(resolve);
        else if (this.#over) finish(() => fail("the stream ended"));
      };
      const timer = setTimeout(() => finish(() => fail(`${withinMs} ms passed`)), withinMs);
      this.#waiting.add(check);
      check();
    });
  }
}
