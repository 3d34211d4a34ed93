import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { HullError, invalidArgument } from "../../core/errors.ts";
import type { OutputTarget } from "./output-target.ts";
import { readFdReusingBuffer } from "./reused-buffer.ts";

/**
 * Opens a FIFO without waiting for its other end. Throws NotFound when it is missing, InvalidArgument when the path
 * is no FIFO.
 */
function openFifo(path: string, flags: number): number {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NONBLOCK);
  } catch (error) {
    throw HullError.wrap(`stdio FIFO ${path}`, error);
  }
  if (!fstatSync(fd).isFIFO()) {
    closeSync(fd);
    throw invalidArgument(`stdio ${path}: is not a FIFO`);
  }
  return fd;
}

/**
 * A FIFO that the client reads. It is open for both directions: opening never waits for a reader, and a containerd
 * that restarts causes neither EPIPE nor loss, as the bytes stay in the pipe. While nobody reads, writes wait.
 */
export class FifoOutput implements OutputTarget {
  readonly #socket: Socket;

  constructor(path: string) {
    this.#socket = new Socket({ fd: openFifo(path, constants.O_RDWR), readable: false, writable: true });
    // Every failure reaches the write that it concerns.
    this.#socket.on("error", () => undefined);
  }

  write(chunk: Uint8Array, done: (error?: Error) => void): void {
    this.#socket.write(chunk, (error) => done(error ?? undefined));
  }

  close(): void {
    // Not `end()`: that is a shutdown(2), which a FIFO does not have. All writes have been answered.
    this.#socket.destroy();
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
    const source = readFdReusingBuffer(fd, (chunk, next) => {
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
  }
}
