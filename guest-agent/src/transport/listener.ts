import { describe, type Log } from "../log.ts";
import type { Sys } from "../sys.ts";

const MAX_PER_TURN = 64;

/** Accepts the connections of a listening socket, which it owns, and gives each to `onConnection`. */
export class Listener {
  readonly #sys: Sys;
  readonly #fd: number;
  #closed = false;

  constructor(sys: Sys, fd: number, onConnection: (fd: number) => void, log: Log) {
    this.#sys = sys;
    this.#fd = fd;
    sys.watch(fd, { read: true }, () => {
      for (let count = 0; count < MAX_PER_TURN && !this.#closed; count++) {
        let connection: number;
        try {
          connection = sys.accept(fd);
        } catch (error) {
          log("warn", `accept: ${describe(error)}`);
          return;
        }
        if (connection < 0) return;
        onConnection(connection);
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sys.unwatch(this.#fd);
    this.#sys.close(this.#fd);
  }
}
