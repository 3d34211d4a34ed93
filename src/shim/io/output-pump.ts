import type { Socket } from "node:net";
import { HullError } from "../../core/errors.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { readIntoBuffer } from "./buffer-reader.ts";
import type { OutputTarget } from "./output-target.ts";

/**
 * Copies one output stream of the guest to its target, one chunk at a time, so a stalled reader blocks only this stream
 * and memory is constant. After an error of the target the output is discarded: the guest is still read, so that the
 * container does not block.
 */
export class OutputPump {
  /** Resolves when the guest's stream has ended and all of it was written or discarded. Never rejects. */
  readonly done: Promise<void>;
  #finish: () => void = () => undefined;
  #source: Socket | undefined;
  #failed = false;
  #closed = false;
  #writing = false;
  /** The guest closed its end, which it only does after an error. */
  #ended = false;
  #received = 0n;
  #expected: bigint | undefined;

  constructor(
    readonly name: string,
    readonly target: OutputTarget,
    readonly warn: (message: string) => void,
  ) {
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Starts to copy from `socket`, which the pump then owns. */
  attach(socket: Socket): void {
    const source = readIntoBuffer(socket, (chunk, next) => {
      this.#received += BigInt(chunk.length);
      if (this.#failed) {
        this.#settle(next);
        return;
      }
      this.#writing = true;
      this.target.write(chunk, (error) => {
        this.#writing = false;
        if (error && !this.#closed) this.#fail(error);
        this.#settle(next);
      });
    });
    const end = () => {
      if (this.#closed) return;
      this.#ended = true;
      this.#settle();
    };
    this.#source = source;
    source.on("end", end);
    source.on("close", end);
    source.on("error", (error: Error) =>
      this.warn(`${this.name}: the guest's stream was interrupted: ${HullError.from(error).message}`),
    );
    this.#settle();
  }

  /**
   * Ends the copying after `bytes`, the number that the process had written when it exited: the guest leaves the stream
   * open. What a background process has written beyond is copied as far as it has arrived.
   */
  endsAfter(bytes: bigint): void {
    this.#expected = bytes;
    if (this.#closed) this.#warnOfLoss();
    else this.#settle();
  }

  /** Closes if everything was copied, else calls `next`. */
  #settle(next?: () => void): void {
    const complete = this.#ended || (this.#expected !== undefined && this.#received >= this.#expected);
    if (complete && !this.#writing) {
      this.#warnOfLoss();
      this.close();
    } else next?.();
  }

  #warnOfLoss(): void {
    if (!this.#ended || this.#expected === undefined || this.#received >= this.#expected) return;
    this.warn(`${this.name}: the guest's stream ended after ${this.#received} of ${this.#expected} bytes`);
  }

  /** Returns the progress, for the state dump. */
  describe(): Snapshot {
    return {
      bytes: Number(this.#received),
      ...(this.#expected !== undefined && { of: Number(this.#expected) }),
      // If it stays true, the target does not read.
      ...(this.#writing && { writing: true }),
      ...(this.#failed && { discarding: true }),
      ...(this.#closed && { closed: true }),
    };
  }

  #fail(error: Error): void {
    this.#failed = true;
    this.warn(`${this.name}: output is discarded from now on: ${HullError.from(error).message}`);
  }

  /** Ends the copying without waiting for a reader of what was written. */
  abandon(): void {
    this.close();
    this.target.abandon?.();
  }

  /** Ends the copying; what was written stays readable. */
  close(): void {
    this.#closed = true;
    this.#source?.destroy();
    this.target.close();
    this.#finish();
  }
}
