import { printable } from "../core/printable.ts";

/** Keeps the last `capacity` bytes of a stream: a console, a child's stderr. */
export class RingBuffer {
  readonly #chunks: Buffer[] = [];
  #length = 0;

  constructor(readonly capacity = 64 * 1024) {}

  /** Appends `data` and drops what is older than `capacity` bytes. The bytes are copied. */
  write(data: Uint8Array): void {
    const kept = data.length > this.capacity ? data.subarray(data.length - this.capacity) : data;
    if (kept.length === 0) return;
    const last = this.#chunks.at(-1);
    // Consoles write byte by byte: small pieces are joined so that the list stays short.
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

  get length(): number {
    return this.#length;
  }

  /** The kept bytes as text for people: UTF-8, bytes that are none replaced, nothing that a terminal obeys. */
  text(): string {
    return printable(Buffer.concat(this.#chunks).toString("utf8"));
  }
}

/** Characters of one line that are told. */
const MAX_LINE = 500;

/** The last `count` lines of a text that are not empty, printable and none of them long. */
export function lastLines(text: string, count: number): string {
  return printable(text)
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .map((line) => printable(line, MAX_LINE))
    .join("\n");
}
