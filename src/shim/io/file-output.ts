import { close, constants, open, write } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { errnoOf, HullError, invalidArgument } from "../../core/errors.ts";
import type { OutputTarget } from "./output-target.ts";

/** A log file to which output streams are appended. It is closed with its last stream. */
export class LogFile {
  readonly #fd: number;
  #streams = 0;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Opens `path`, and creates it (0644) and its parent directories (0755) if missing. Throws InvalidArgument for a FIFO.
   */
  static async open(path: string): Promise<LogFile> {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      // O_NONBLOCK: opening a FIFO without a reader fails instead of blocking a thread.
      const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
      return new LogFile(await promisify(open)(path, flags, 0o644));
    } catch (error) {
      if (errnoOf(error) === "ENXIO") throw invalidArgument(`stdio file ${path}: not a file`);
      throw HullError.ofCallersPath(`stdio file ${path}`, error);
    }
  }

  /** Returns a new stream that appends to the file. */
  stream(): OutputTarget {
    this.#streams++;
    let open = true;
    return {
      write: (chunk, done) => this.#write(chunk, done),
      close: () => {
        // An error of close(2) cannot be reported: all writes have completed.
        if (open && --this.#streams === 0) close(this.#fd, () => undefined);
        open = false;
      },
    };
  }

  #write(chunk: Uint8Array, done: (error?: Error) => void): void {
    write(this.#fd, chunk, (error, written) => {
      if (error) done(error);
      else if (written < chunk.length) this.#write(chunk.subarray(written), done);
      else done();
    });
  }
}
