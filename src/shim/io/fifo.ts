import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { errnoOf, HullError, invalidArgument } from "../../core/errors.ts";
import { readFdIntoBuffer } from "./buffer-reader.ts";
import type { OutputTarget } from "./output-target.ts";

/** Opens a FIFO without waiting for its other end. Throws NotFound, or InvalidArgument if it is not a FIFO. */
function openFifo(path: string, flags: number): number {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NONBLOCK);
  } catch (error) {
    throw HullError.ofCallersPath(`stdio FIFO ${path}`, error);
  }
  if (!fstatSync(fd).isFIFO()) {
    closeSync(fd);
    throw invalidArgument(`stdio ${path}: not a FIFO`);
  }
  return fd;
}

/** Intervals between two checks whether a client has opened a FIFO that still has output. */
const FIRST_CHECK_MS = 20;
const LONGEST_CHECK_MS = 500;

/**
 * A FIFO that the client reads. The shim holds a read end, too: opening does not wait for a reader, and a restart of
 * containerd causes neither EPIPE nor loss. While nobody reads, writes wait. What is in the FIFO when the output ends
 * is kept for a reader that opens it later.
 */
export class FifoOutput implements OutputTarget {
  readonly #path: string;
  readonly #writer: Socket;
  #reader: number | undefined;
  #check: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.#path = path;
    const reader = openFifo(path, constants.O_RDONLY);
    try {
      const fd = openFifo(path, constants.O_WRONLY);
      this.#writer = new Socket({ fd, readable: false, writable: true });
    } catch (error) {
      closeSync(reader);
      throw error;
    }
    this.#reader = reader;
    // `write` reports every error.
    this.#writer.on("error", () => undefined);
  }

  write(chunk: Uint8Array, done: (error?: Error) => void): void {
    this.#writer.write(chunk, (error) => done(error ?? undefined));
  }

  close(): void {
    this.#closeReader();
    if (!this.#writer.destroyed && this.#check === undefined) this.#closeOnceOpened(FIRST_CHECK_MS);
  }

  abandon(): void {
    clearTimeout(this.#check);
    this.#closeReader();
    // Not `end()`, which calls shutdown(2) and fails on a FIFO. No write is pending.
    this.#writer.destroy();
  }

  /** A FIFO keeps its bytes while one end is open, so the shim's stays open until the client has opened its own. */
  #closeOnceOpened(wait: number): void {
    if (this.#hasClient()) {
      this.abandon();
      return;
    }
    const next = Math.min(wait * 2, LONGEST_CHECK_MS);
    this.#check = setTimeout(() => this.#closeOnceOpened(next), wait).unref();
  }

  #hasClient(): boolean {
    try {
      closeSync(openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK));
      return true;
    } catch (error) {
      // ENXIO: nobody has it open for reading (fifo(7)). After any other error no client can open it either.
      return errnoOf(error) !== "ENXIO";
    }
  }

  #closeReader(): void {
    if (this.#reader !== undefined) closeSync(this.#reader);
    this.#reader = undefined;
  }
}

/**
 * A FIFO that clients write: the process's stdin. The shim holds a write end, too, so that clients may disconnect and
 * reconnect; end of file comes after `closeWriter` and the last client's close.
 */
export class FifoInput {
  #reader: number | undefined;
  #writer: number | undefined;
  #socket: Socket | undefined;
  #sink: Socket | undefined;

  constructor(path: string) {
    this.#reader = openFifo(path, constants.O_RDONLY);
    try {
      this.#writer = openFifo(path, constants.O_WRONLY);
    } catch (error) {
      closeSync(this.#reader);
      throw error;
    }
  }

  /**
   * Copies to the guest's `sink` until end of file, then closes it, as fast as the guest reads. If the sink closes
   * first, copying ends and clients that still write get EPIPE.
   */
  copyTo(sink: Socket): void {
    const fd = this.#reader;
    if (fd === undefined) {
      sink.destroySoon();
      return;
    }
    this.#reader = undefined; // the socket owns it
    this.#sink = sink;
    const source = readFdIntoBuffer(fd, (chunk, next) => {
      sink.write(chunk, (error) => {
        if (!error) next();
      });
    });
    this.#socket = source;
    source.on("end", () => sink.destroySoon());
    source.on("error", () => sink.destroy());
    sink.on("error", () => undefined); // `close` follows
    sink.on("close", () => this.close());
    sink.on("data", () => sink.destroy()); // a guest must not send here
    source.resume();
  }

  /** Closes the shim's write end. What clients have written and still write is delivered. */
  closeWriter(): void {
    if (this.#writer !== undefined) closeSync(this.#writer);
    this.#writer = undefined;
  }

  /** Closes the FIFO and the guest's stream at once. */
  close(): void {
    this.closeWriter();
    if (this.#reader !== undefined) closeSync(this.#reader);
    this.#reader = undefined;
    this.#socket?.destroy();
    this.#sink?.destroy(); // otherwise closed at end of file, which does not come any more
  }
}
