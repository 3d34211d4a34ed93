import type { Socket } from "node:net";
import type { OutputTarget } from "./output-target.ts";
import { readReusingBuffer } from "./reused-buffer.ts";

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
    let writing = false;
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      source.destroy();
      if (!writing) this.close();
    };
    const source = readReusingBuffer(socket, (chunk, next) => {
      if (this.#failed) {
        next();
        return;
      }
      writing = true;
      this.target.write(chunk, (error) => {
        writing = false;
        if (error && !this.#closed) this.#fail(error);
        if (ended) this.close();
        else next();
      });
    });
    this.#source = source;
    source.on("end", end);
    source.on("close", end);
    source.on("error", (error: Error) =>
      this.warn(`${this.name}: the guest's stream broke off: ${error.message}`),
    );
  }

  #fail(error: Error): void {
    this.#failed = true;
    this.warn(`${this.name}: output is discarded from here on: ${error.message}`);
  }

  /** Ends the copying at once. */
  close(): void {
    this.#closed = true;
    this.#source?.destroy();
    this.target.close();
    this.#finish();
  }
}
