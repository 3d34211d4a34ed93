import type { Sys } from "../sys.ts";
import type { StreamName } from "./endpoints.ts";

/**
 * A stream of a process: connects the agent's end of its pipe or terminal with the host's connection once
 * both exist, and relays in C. Owns both descriptors. The host closes a stdin stream when it ends, and an
 * output stream when it has read `total` bytes: the agent keeps that connection open until `close`, because
 * vsock backends drop data that is still in flight when the guest closes.
 */
export class Stream {
  readonly #sys: Sys;
  #endpoint: number | undefined;
  #terminal = false;
  #connection: number | undefined;
  #relay: number | undefined;
  /** Bytes relayed, set when the relay has ended. */
  #moved: number | undefined;
  /** Moves a terminal's buffered output into a pipe: see `total`. */
  #emptying: { relay: number; pipe: number } | undefined;
  #closed = false;

  constructor(
    sys: Sys,
    readonly name: StreamName,
    /** Whether the host wants it; unwanted output of a terminal is read and dropped. */
    readonly wanted: boolean,
  ) {
    this.#sys = sys;
  }

  /** Takes the agent's end of the process's pipe or terminal. */
  attach(endpoint: number, terminal: boolean): void {
    if (this.#closed) {
      this.#sys.close(endpoint);
      return;
    }
    this.#endpoint = endpoint;
    this.#terminal = terminal;
    this.#begin();
  }

  /** Takes the host's connection; closes any but the first. */
  connect(connection: number): void {
    if (this.#closed || this.#connection !== undefined) {
      this.#sys.close(connection);
      return;
    }
    this.#connection = connection;
    this.#begin();
  }

  /** Returns the bytes written to an output stream so far, relayed or not. */
  total(): number {
    if (this.#moved !== undefined) return this.#moved;
    if (this.#relay !== undefined) return Math.max(0, this.#sys.relayTotal(this.#relay));
    if (this.#endpoint === undefined) return 0;
    return this.#terminal ? this.#emptyTerminal(this.#endpoint) : this.#sys.readable(this.#endpoint);
  }

  /** Closes the stream: data that has not been relayed is lost. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#relay !== undefined) this.#sys.stopRelay(this.#relay);
    if (this.#emptying) {
      this.#sys.stopRelay(this.#emptying.relay);
      this.#sys.close(this.#emptying.pipe);
    }
    for (const fd of [this.#endpoint, this.#connection]) if (fd !== undefined) this.#sys.close(fd);
    this.#relay = this.#emptying = this.#endpoint = this.#connection = undefined;
  }

  #begin(): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined || this.#relay !== undefined || this.#moved !== undefined) return;
    if (!this.wanted && this.#connection === undefined) {
      // Without a reader the program would block once the terminal's buffer is full.
      this.#connection = this.#sys.open("/dev/null", this.#sys.O_WRONLY);
    }
    const connection = this.#connection;
    if (connection === undefined) return;
    if (this.name === "stdin") {
      this.#relay = this.#sys.relay(connection, endpoint, false, () => {
        this.#relay = undefined;
        this.close();
      });
      return;
    }
    // Drains: the program must not block or get SIGPIPE because the host has disconnected.
    this.#relay = this.#sys.relay(endpoint, connection, true, (bytes) => {
      this.#relay = undefined;
      this.#moved = bytes;
      this.#sys.close(endpoint);
      this.#endpoint = undefined;
    });
  }

  /**
   * Counts the output in a terminal to which the host has not connected yet. Only reading it gives the
   * number, so it is moved into a pipe, and the host will be connected to that.
   */
  #emptyTerminal(master: number): number {
    const sys = this.#sys;
    const [read, write] = sys.pipe();
    const relay = sys.relay(master, write, false, () => {
      this.#emptying = undefined;
      sys.close(write);
    });
    this.#emptying = { relay, pipe: write };
    const total = sys.relayTotal(relay);
    sys.close(master); // the relay has its own descriptor
    this.#endpoint = read;
    this.#terminal = false;
    return total;
  }
}
