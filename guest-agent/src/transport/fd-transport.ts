import type { Transport } from "../../../src/ttrpc/transport.ts";
import type { Sys } from "../sys.ts";

/** Read buffer shared by all transports; the data is copied out before other code runs. */
const SCRATCH = new Uint8Array(64 << 10);
const CLOSE_TIMEOUT_MS = 5_000;

/** A connected, non-blocking socket as a ttrpc transport. Owns the descriptor. */
export class FdTransport implements Transport {
  readonly #sys: Sys;
  readonly #fd: number;
  #data: ((bytes: Uint8Array) => void) | undefined;
  #drain: (() => void) | undefined;
  #onClose: ((error?: Error) => void) | undefined;
  #queue: Uint8Array[] = [];
  #watched = "";
  #paused = false;
  #closing: number | undefined;
  #closed = false;
  #error: Error | undefined;

  constructor(sys: Sys, fd: number) {
    this.#sys = sys;
    this.#fd = fd;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#closing !== undefined) return true;
    this.#queue.push(bytes);
    if (this.#queue.length === 1) this.#flush();
    return this.#queue.length === 0;
  }

  onData(listener: (bytes: Uint8Array) => void): void {
    this.#data = listener;
    this.#arm();
  }

  onDrain(listener: () => void): void {
    this.#drain = listener;
  }

  onClose(listener: (error?: Error) => void): void {
    this.#onClose = listener;
    if (this.#closed) listener(this.#error);
  }

  pause(): void {
    this.#paused = true;
    this.#arm();
  }

  resume(): void {
    this.#paused = false;
    this.#arm();
  }

  close(): void {
    if (this.#closed || this.#closing !== undefined) return;
    if (this.#queue.length === 0) {
      this.#finish();
      return;
    }
    this.#closing = this.#sys.setTimer(CLOSE_TIMEOUT_MS, () => this.#finish());
    this.#arm();
  }

  /** Sets the events to watch for; only a change costs a system call. */
  #arm(): void {
    if (this.#closed) return;
    const read = this.#data !== undefined && !this.#paused && this.#closing === undefined;
    const write = this.#queue.length > 0;
    const wanted = `${read ? "r" : ""}${write ? "w" : ""}`;
    if (wanted === this.#watched) return;
    if (this.#watched !== "") this.#sys.unwatch(this.#fd);
    this.#watched = wanted;
    if (wanted === "") return;
    this.#sys.watch(this.#fd, { read, write }, (ready) => {
      if (write && (ready.write || ready.hangup)) this.#writable();
      if (read && !this.#closed && (ready.read || ready.hangup)) this.#readable();
    });
  }

  #readable(): void {
    let length: number;
    try {
      length = this.#sys.read(this.#fd, SCRATCH, 0, SCRATCH.length);
    } catch (error) {
      this.#finish(error);
      return;
    }
    if (length === 0) this.#finish();
    else if (length > 0) this.#data?.(SCRATCH.slice(0, length));
  }

  #writable(): void {
    this.#flush();
    if (this.#closed || this.#queue.length > 0) return;
    if (this.#closing !== undefined) this.#finish();
    else this.#drain?.();
  }

  #flush(): void {
    try {
      for (let first = this.#queue[0]; first; first = this.#queue[0]) {
        const written = this.#sys.write(this.#fd, first, 0, first.length);
        if (written < 0) break;
        if (written < first.length) this.#queue[0] = first.subarray(written);
        else this.#queue.shift();
      }
    } catch (error) {
      this.#finish(error);
      return;
    }
    this.#arm();
  }

  #finish(thrown?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = thrown === undefined || thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#error = error;
    this.#queue = [];
    if (this.#closing !== undefined) this.#sys.clearTimer(this.#closing);
    if (this.#watched !== "") this.#sys.unwatch(this.#fd);
    this.#sys.close(this.#fd);
    this.#onClose?.(error);
  }
}
