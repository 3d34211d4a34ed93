import type { Socket } from "node:net";
import { HullError } from "../../core/errors.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { readIntoBuffer } from "./buffer-reader.ts";
import type { OutputTarget } from "./output-target.ts";

/**
 * Copies one output stream of the guest to its target, one chunk at a time: a reader that stalls holds back this
 * stream and nothing else, and memory stays flat. A target that fails is given up; the guest is still read, so that
 * the container does not block on output that nobody can get.
 */
export class OutputPump {
  /** Resolves when the guest's stream has ended and all of it was handed over or given up. Never rejects. */
  readonly done: Promise<void>;
  #finish: () => void = () => undefined;
  #source: Socket | undefined;
  #failed = false;
  #closed = false;
  #writing = false;
  /** The guest closed its end, which it only does when the stream breaks. */
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

  /** Begins to copy. Takes `socket` over. */
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
   * Says how many bytes the process had written when it ended. The guest leaves the stream open, so this is its end;
   * a background process that holds it may have sent more, which is copied as far as it came.
   */
  endsAfter(bytes: bigint): void {
    this.#expected = bytes;
    if (this.#closed) this.#tellLoss();
    else this.#settle();
  }

  /** Closes when all has been copied, else goes on with `next`. */
  #settle(next?: () => void): void {
    const complete = this.#ended || (this.#expected !== undefined && this.#received >= this.#expected);
    if (complete && !this.#writing) {
      this.#tellLoss();
      this.close();
    } else next?.();
  }

  #tellLoss(): void {
    if (!this.#ended || this.#expected === undefined || this.#received >= this.#expected) return;
    this.warn(`${this.name}: the guest's stream ended after ${this.#received} of ${this.#expected} bytes`);
  }

  /** How far it has come, for the state dump. */
  describe(): Snapshot {
    return {
      bytes: Number(this.#received),
      ...(this.#expected !== undefined && { of: Number(this.#expected) }),
      // For as long as this is so the target takes nothing.
      ...(this.#writing && { writing: true }),
      ...(this.#failed && { discarding: true }),
      ...(this.#closed && { closed: true }),
    };
  }

  #fail(error: Error): void {
    this.#failed = true;
    this.warn(`${this.name}: output is discarded from now on: ${HullError.from(error).message}`);
  }

  /** Ends the copying at once; nobody is waited for. */
  abandon(): void {
    this.close();
    this.target.abandon?.();
  }

  /** Ends the copying. */
  close(): void {
    this.#closed = true;
    this.#source?.destroy();
    this.target.close();
    this.#finish();
  }
}
