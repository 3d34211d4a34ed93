import { type HullError, resourceExhausted } from "../core/errors.ts";
import type { FrameChannel } from "./channel.ts";

const MAX_MESSAGES = 256;
const MAX_BYTES = 1 << 20;
/** How long a reader may leave messages unread before its stream fails (a second in Go's ttrpc, too). */
const STALL_MS = 1000;

interface Reader<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/**
 * The received messages of one direction of a stream. A slow reader stops reading from the whole connection,
 * because ttrpc has no flow control per stream; if it stays slow, its stream fails, not the connection.
 */
export class Inbox<T> implements AsyncIterableIterator<T> {
  readonly #channel: FrameChannel;
  readonly #abandoned: () => void;
  readonly #overflow: (error: HullError) => void;
  #messages: { message: T; bytes: number }[] = [];
  #bytes = 0;
  #readers: Reader<T>[] = [];
  #ended = false;
  #error: Error | undefined;
  #stall: ReturnType<typeof setTimeout> | undefined;

  /** `overflow` is called when the stream must fail, `abandoned` when its reader stops early. */
  constructor(channel: FrameChannel, overflow: (error: HullError) => void, abandoned: () => void) {
    this.#channel = channel;
    this.#overflow = overflow;
    this.#abandoned = abandoned;
  }

  push(message: T, bytes: number): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader) {
      reader.resolve({ done: false, value: message });
      return;
    }
    this.#messages.push({ message, bytes });
    this.#bytes += bytes;
    if (this.#full && this.#stall === undefined) this.#hold();
  }

  /** Ends the stream; the messages that have arrived can still be read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    for (const reader of this.#readers.splice(0)) reader.resolve({ done: true, value: undefined });
  }

  /** Breaks the stream: reading fails after the messages that have arrived. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    const readers = this.#readers.splice(0);
    if (readers.length === 0) this.#error = error;
    for (const [index, reader] of readers.entries()) {
      if (index === 0) reader.reject(error);
      else reader.resolve({ done: true, value: undefined });
    }
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const first = this.#messages.shift();
    if (first) {
      this.#bytes -= first.bytes;
      if (this.#stall !== undefined && !this.#full) this.#release();
      return Promise.resolve({ done: false, value: first.message });
    }
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  /** Called when the reader stops early (`break` in `for await`). */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#messages = [];
    this.#bytes = 0;
    this.#error = undefined;
    if (!this.#ended) {
      this.end();
      this.#abandoned();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get #full(): boolean {
    return this.#messages.length >= MAX_MESSAGES || this.#bytes >= MAX_BYTES;
  }

  #hold(): void {
    const giveUp = () => {
      this.#overflow(
        resourceExhausted(
          `stream aborted: its reader has left ${this.#messages.length} messages (${this.#bytes} bytes) unread`,
        ),
      );
    };
    if (!this.#channel.hold(this)) giveUp();
    else this.#stall = setTimeout(giveUp, STALL_MS);
  }

  #release(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    this.#channel.release(this);
  }
}
