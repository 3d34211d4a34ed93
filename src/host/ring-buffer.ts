import { printable } from "../core/printable.ts";

/** Keeps the last `capacity` bytes of a stream, such as a console or a child's stderr. */
export class RingBuffer {
  readonly #chunks: Buffer[] = [];
  #length = 0;

  constructor(readonly capacity = 64 * 1024) {}

  /** Appends a copy of `data` and drops the oldest bytes beyond `capacity`. */
  write(data: Uint8Array): void {
    const kept = data.length > this.capacity ? data.subarray(data.length - this.capacity) : data;
    if (kept.length === 0) return;
    const last = this.#chunks.at(-1);
    // Consoles write byte by byte, so small pieces are joined to keep the list short.
    if (last && last.length + kept.length <= 1024)
      this.#chunks[this.#chunks.length - 1] = Buffer.concat([last, kept]);
    else this.#chunks.push(Buffer.from(kept));
    this.#length += kept.length;
    for (let first = this.#chunks[0]; first && this.#length > this.capacity; first = this.#chunks[0]) {
      const surplus = this.#length - this.capacity;
      this.#length -= Math.min(surplus, first.length);
      if (first.length <= surplus) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(surplus);
    }
  }

  /** The number of bytes kept. */
  get length(): number {
    return this.#length;
  }

  /** Returns the kept bytes as UTF-8 text, invalid bytes replaced and terminal control sequences removed. */
  text(): string {
    return printable(Buffer.concat(this.#chunks).toString("utf8"));
  }
}

/** Characters of a line that are kept. */
const MAX_LINE = 500;

/** Returns the last `count` non-empty lines of a text, printable and shortened. */
export function lastLines(text: string, count: number): string {
  return printable(text)
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .map((line) => printable(line, MAX_LINE))
    .join("\n");
}
