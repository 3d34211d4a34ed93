import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { errnoOf, HullError, invalidArgument } from "../../core/errors.ts";
import { readFdIntoBuffer } from "./buffer-reader.ts";
import type { OutputTarget } from "./output-target.ts";

/**
 * Opens a FIFO without waiting for its other end. Throws NotFound when it is missing, InvalidArgument when the path
 * is no FIFO.
 */
function openFifo(path: string, flags: number): number {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NONBLOCK);
  } catch (error) {
    throw HullError.ofCallersPath(`stdio FIFO ${path}`, error);
  }
  if (!fstatSync(fd).isFIFO()) {
    closeSync(fd);
    throw invalidArgument(`stdio ${path}: is not a FIFO`);
  }
  return fd;
}

/** Between two looks whether a client has come to read what is left in a FIFO. */
const FIRST_LOOK_MS = 20;
const LONGEST_LOOK_MS = 500;

/**
 * A FIFO that the client reads. We hold a read end, too: opening never waits for a reader, and a containerd that
 * restarts causes neither EPIPE nor loss, as the bytes stay in the pipe. While nobody reads, writes wait. What is in
 * the pipe when the output ends is kept for a reader that is still to come.
 */
export class FifoOutput implements OutputTarget {
  readonly #path: string;
  readonly #writer: Socket;
  #reader: number | undefined;
  #look: NodeJS.Timeout | undefined;

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
    // Every failure reaches the write that it concerns.
    this.#writer.on("error", () => undefined);
  }

  write(chunk: Uint8Array, done: (error?: Error) => void): void {
    this.#writer.write(chunk, (error) => done(error ?? undefined));
  }

  close(): void {
    this.#closeReader();
    if (!this.#writer.destroyed && this.#look === undefined) this.#closeOnceRead(FIRST_LOOK_MS);
  }

  abandon(): void {
    clearTimeout(this.#look);
    this.#closeReader();
    // Not `end()`: that is a shutdown(2), which a FIFO does not have. All writes have been answered.
    this.#writer.destroy();
  }

  /** A pipe keeps its bytes as long as one end is open: ours stays until the client has opened its own. */
  #closeOnceRead(wait: number): void {
    if (this.#hasClient()) this.abandon();
    else
      this.#look = setTimeout(() => this.#closeOnceRead(Math.min(wait * 2, LONGEST_LOOK_MS)), wait).unref();
  }

  #hasClient(): boolean {
    try {
      closeSync(openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK));
      return true;
    } catch (error) {
      // ENXIO: nobody has it open for reading (fifo(7)). Any other failure: it is gone, and nobody will come.
      return errnoOf(error) !== "ENXIO";
    }
  }

  #closeReader(): void {
    if (this.#reader !== undefined) closeSync(this.#reader);
    this.#reader = undefined;
  }
}

/**
 * A FIFO that the client writes: the process's stdin. It is held open for writing here too, so that clients may come
 * and go; end of file is when `closeWriter` was called and the last client has closed.
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
   * Copies to the guest's `sink` until end of file, then closes it, which is the end mark; a sink that closes first ends the copying, and
   * clients that still write get EPIPE. The client is only read as fast as the guest takes it.
   */
  copyTo(sink: Socket): void {
    const fd = this.#reader;
    if (fd === undefined) {
      sink.destroySoon();
      return;
    }
    this.#reader = undefined; // the socket owns it from here
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
    sink.on("data", () => sink.destroy()); // nothing may come from there
    source.resume();
  }

  /** No client will come any more. What is in the FIFO is still delivered. */
  closeWriter(): void {
    if (this.#writer !== undefined) closeSync(this.#writer);
    this.#writer = undefined;
  }

  close(): void {
    this.closeWriter();
    if (this.#reader !== undefined) closeSync(this.#reader);
    this.#reader = undefined;
    this.#socket?.destroy();
    this.#sink?.destroy(); // the end of file, which closes it, does not come any more
  }
}
