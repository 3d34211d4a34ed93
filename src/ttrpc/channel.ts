import { internal, resourceExhausted } from "../core/errors.ts";
import { FrameDecoder, type FrameSink, MAX_PAYLOAD } from "./frame.ts";
import type { Transport } from "./transport.ts";

/** Small frames that are ready at the same time are sent in one write, up to this size. */
const BATCH_BYTES = 64 << 10;
/** Senders that can wait do so while more than this is queued. */
const HIGH_WATER_BYTES = 256 << 10;
/** Messages that are sent before the event loop gets a turn. */
const MAX_BURST = 64;
/** The size of the queue at which a peer that does not read is disconnected. */
const MAX_QUEUED_BYTES = 32 << 20;

/** The longest payload that is discarded as it arrives. A peer that announces more no longer speaks ttrpc. */
const MAX_SKIPPED = 4 * MAX_PAYLOAD;

interface ChannelSink extends Pick<FrameSink, "frame"> {
  /**
   * Called for a frame whose payload is too large but below MAX_SKIPPED; the payload is discarded as it
   * arrives. Without this method such a frame ends the connection.
   */
  oversize?: FrameSink["oversize"];
  /** The connection has ended. Called once. */
  closed(error: Error | undefined): void;
}

/** How a channel handles a peer that does not read. */
export interface ChannelOptions {
  /**
   * Stop reading while the peer does not read. Only for servers: if both ends did so, they would deadlock.
   */
  holdWhenCongested?: boolean;
  /** Bytes queued for a peer that does not read, at which the connection is closed. */
  maxQueuedBytes?: number;
}

/**
 * A transport of frames. They are sent whole and in order; what the peer does not read is queued here, up to
 * a limit, and never in the transport.
 */
export class FrameChannel {
  readonly #transport: Transport;
  readonly #sink: ChannelSink;
  readonly #holdWhenCongested: boolean;
  readonly #maxQueuedBytes: number;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #burst = 0;
  #blocked = false;
  #flushScheduled = false;
  #closed = false;
  #waiting: (() => void)[] = [];
  readonly #holders = new Set<unknown>();

  constructor(transport: Transport, sink: ChannelSink, options: ChannelOptions = {}) {
    this.#transport = transport;
    this.#sink = sink;
    this.#holdWhenCongested = options.holdWhenCongested ?? false;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? MAX_QUEUED_BYTES;
    const decoder = new FrameDecoder({
      frame: (streamId, type, flags, payload) => {
        if (!this.#closed) sink.frame(streamId, type, flags, payload);
      },
      oversize: (streamId, type, length) => {
        if (this.#closed) return;
        if (sink.oversize && length <= MAX_SKIPPED) sink.oversize(streamId, type, length);
        else this.close(internal(`the peer announces a frame of ${length} bytes, more than ttrpc allows`));
      },
    });
    transport.onClose((error) => this.#finish(error));
    transport.onDrain(() => {
      this.#blocked = false;
      this.#flush();
    });
    transport.onData((bytes) => {
      if (!this.#closed) decoder.push(bytes);
    });
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Sends a frame, in one write with the others of this turn. Does nothing on a closed channel. */
  send(frame: Uint8Array): void {
    if (this.#closed) return;
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    if (this.#queuedBytes > this.#maxQueuedBytes) {
      this.close(resourceExhausted(`peer does not read: ${this.#queuedBytes} bytes are waiting for it`));
      return;
    }
    if (this.#queuedBytes > HIGH_WATER_BYTES && this.#holdWhenCongested) this.hold(this);
    if (this.#blocked || this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  /**
   * Resolves when more can be sent, or when the channel is closed. Every MAX_BURST calls it lets the event
   * loop turn: a sender with a peer as fast as itself would otherwise starve timers and other connections.
   */
  ready(): Promise<void> {
    this.#burst = (this.#burst + 1) % MAX_BURST;
    if (this.#burst === 0) {
      return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => this.#writable());
    }
    return this.#writable();
  }

  #writable(): Promise<void> {
    if (this.#closed || this.#queuedBytes <= HIGH_WATER_BYTES) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when everything sent so far has been passed to the transport, or when the channel is closed. */
  async flushed(): Promise<void> {
    while (!this.#closed && this.#queuedBytes > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /**
   * Stops reading until `release` is called with the same key. Returns false if the transport cannot pause.
   */
  hold(key: unknown): boolean {
    if (!this.#transport.pause || !this.#transport.resume) return false;
    if (this.#holders.size === 0) this.#transport.pause();
    this.#holders.add(key);
    return true;
  }

  release(key: unknown): void {
    if (this.#holders.delete(key) && this.#holders.size === 0 && !this.#closed) this.#transport.resume?.();
  }

  close(error?: Error): void {
    if (this.#closed) return;
    if (!error && !this.#blocked) this.#flush();
    this.#finish(error);
    this.#transport.close();
  }

  #flush(): void {
    while (!this.#closed && !this.#blocked && this.#queue.length > 0) {
      const batch = this.#takeBatch();
      this.#queuedBytes -= batch.length;
      this.#blocked = !this.#transport.write(batch);
    }
    if (this.#queuedBytes <= HIGH_WATER_BYTES) this.release(this);
    if (this.#queue.length === 0) this.#wake();
  }

  #takeBatch(): Uint8Array {
    let size = 0;
    let count = 0;
    for (const frame of this.#queue) {
      if (count > 0 && size + frame.length > BATCH_BYTES) break;
      size += frame.length;
      count += 1;
    }
    const frames = this.#queue.splice(0, count);
    if (frames.length === 1) return frames[0] as Uint8Array;
    const batch = new Uint8Array(size);
    let offset = 0;
    for (const frame of frames) {
      batch.set(frame, offset);
      offset += frame.length;
    }
    return batch;
  }

  #finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#holders.clear();
    this.#wake();
    this.#sink.closed(error);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
