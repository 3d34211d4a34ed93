import { describe, type Log } from "../log.ts";
import { errnoName, type Sys } from "../sys.ts";
import { HOST_CID } from "./host-cid.ts";

const MAX_PER_TURN = 64;
/** A connection that could not be accepted remains in the backlog and would wake the loop again at once. */
const PAUSE_MS = 100;

/**
 * Accepts the host's connections to a listening vsock socket, which it owns, and passes each to
 * `onConnection`. Closes all others at once, above all those of containers over vsock loopback.
 */
export class Listener {
  readonly #sys: Sys;
  readonly #fd: number;
  readonly #onConnection: (fd: number) => void;
  readonly #log: Log;
  /** Kinds of problems that have been logged: a container that retries must not fill the console. */
  readonly #reported = new Set<string>();
  #paused: number | undefined;
  #closed = false;

  constructor(sys: Sys, fd: number, onConnection: (fd: number) => void, log: Log) {
    this.#sys = sys;
    this.#fd = fd;
    this.#onConnection = onConnection;
    this.#log = log;
    this.#watch();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#paused !== undefined) this.#sys.clearTimer(this.#paused);
    this.#sys.unwatch(this.#fd);
    this.#sys.close(this.#fd);
  }

  #watch(): void {
    this.#sys.watch(this.#fd, { read: true }, () => {
      for (let count = 0; count < MAX_PER_TURN && !this.#closed; count++) {
        const connection = this.#accept();
        if (connection < 0) return;
        if (this.#isFromHost(connection)) this.#onConnection(connection);
        else this.#sys.close(connection);
      }
    });
  }

  #accept(): number {
    try {
      return this.#sys.accept(this.#fd);
    } catch (error) {
      // EMFILE, ENFILE, ENOMEM: temporary.
      this.#reportOnce("accept", `accept: ${describe(error)}; retrying every ${PAUSE_MS} ms`);
      this.#sys.unwatch(this.#fd);
      this.#paused = this.#sys.setTimer(PAUSE_MS, () => {
        this.#paused = undefined;
        this.#watch();
      });
      return -1;
    }
  }

  #isFromHost(connection: number): boolean {
    try {
      const cid = this.#sys.peerCid(connection);
      if (cid === HOST_CID) return true;
      this.#reportOnce("peer", `vsock: closed a connection of context id ${cid}, which is not the host`);
    } catch (error) {
      // ENOTCONN: the peer has closed already.
      if (errnoName(error) !== "ENOTCONN") this.#reportOnce("name", `vsock: ${describe(error)}`);
    }
    return false;
  }

  #reportOnce(kind: string, text: string): void {
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    this.#log("warn", text);
  }
}
