import type { Transport } from "../../../src/ttrpc/transport.ts";

/**
 * Returns two connected transports in memory. Bytes arrive in a later turn. `capacity` is the number of bytes
 * that an end accepts before `write` returns false; `chop` splits what arrives into chunks.
 */
export function transportPair(
  options: { capacity?: number; chop?: (bytes: Uint8Array) => Uint8Array[] } = {},
): [MemoryTransport, MemoryTransport] {
  const left = new MemoryTransport(options.capacity ?? Number.POSITIVE_INFINITY, options.chop);
  const right = new MemoryTransport(options.capacity ?? Number.POSITIVE_INFINITY, options.chop);
  left.peer = right;
  right.peer = left;
  return [left, right];
}

export class MemoryTransport implements Transport {
  peer!: MemoryTransport;
  /** Everything written, for tests that check bytes. */
  readonly written: Uint8Array[] = [];
  paused = false;
  closed = false;
  #inbound: Uint8Array[] = [];
  #inboundBytes = 0;
  #scheduled = false;
  #starved = false;
  #data: (bytes: Uint8Array) => void = () => undefined;
  #drain: () => void = () => undefined;
  #close: (error?: Error) => void = () => undefined;

  constructor(
    readonly capacity: number,
    readonly chop: ((bytes: Uint8Array) => Uint8Array[]) | undefined,
  ) {}

  /** Bytes sent to this end that it has not read. */
  get unread(): number {
    return this.#inboundBytes;
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(bytes);
    if (this.closed || this.peer.closed) return true;
    this.peer.#receive(bytes);
    if (this.peer.#inboundBytes <= this.capacity) return true;
    this.#starved = true;
    return false;
  }

  onData(listener: (bytes: Uint8Array) => void): void {
    this.#data = listener;
    this.#schedule();
  }

  onDrain(listener: () => void): void {
    this.#drain = listener;
  }

  onClose(listener: (error?: Error) => void): void {
    this.#close = listener;
  }

  close(): void {
    this.fail(undefined);
    setImmediate(() => this.peer.fail(undefined));
  }

  /** Closes this end, as a broken connection does. */
  fail(error: Error | undefined): void {
    if (this.closed) return;
    this.#deliver();
    this.closed = true;
    this.#close(error);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#schedule();
  }

  #receive(bytes: Uint8Array): void {
    this.#inbound.push(bytes);
    this.#inboundBytes += bytes.length;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.paused && !this.closed && this.#inbound.length > 0) {
      const bytes = this.#inbound.shift() as Uint8Array;
      this.#inboundBytes -= bytes.length;
      for (const part of this.chop?.(bytes) ?? [bytes]) this.#data(part);
    }
    if (this.peer.#starved && this.#inboundBytes <= this.capacity) {
      this.peer.#starved = false;
      setImmediate(() => this.peer.#drain());
    }
  }
}
