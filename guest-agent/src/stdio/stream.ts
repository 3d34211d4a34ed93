import type { Sys } from "../sys.ts";
import type { StreamName } from "./endpoints.ts";

/**
 * One stream of one process: joins our end of its pipe or terminal with the host's connection once both are there,
 * and relays (in C) until either ends. The end of the stream is told by closing. Owns both descriptors.
 */
export class Stream {
  readonly #sys: Sys;
  #endpoint: number | undefined;
  #connection: number | undefined;
  #relay: number | undefined;
  #closed = false;

  constructor(
    sys: Sys,
    readonly name: StreamName,
    /** Whether the host wants it; output that nobody wants is read and dropped. */
    readonly wanted: boolean,
  ) {
    this.#sys = sys;
  }

  /** Takes our end of the process's pipe or terminal. */
  attach(endpoint: number): void {
    if (this.#closed) {
      this.#sys.close(endpoint);
      return;
    }
    this.#endpoint = endpoint;
    this.#begin();
  }

  /** Takes the host's connection. The first one counts; any other is closed. */
  connect(connection: number): void {
    if (this.#closed || this.#connection !== undefined) {
      this.#sys.close(connection);
      return;
    }
    this.#connection = connection;
    this.#begin();
  }

  /** Ends it: what has not been relayed yet is lost. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#relay !== undefined) this.#sys.stopRelay(this.#relay);
    for (const fd of [this.#endpoint, this.#connection]) if (fd !== undefined) this.#sys.close(fd);
    this.#relay = this.#endpoint = this.#connection = undefined;
  }

  get closed(): boolean {
    return this.#closed;
  }

  #begin(): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined || this.#relay !== undefined) return;
    if (!this.wanted && this.#connection === undefined) {
      // Only a terminal's output gets here: its reader must exist, or the program blocks when the buffer is full.
      this.#connection = this.#sys.open("/dev/null", this.#sys.O_WRONLY);
    }
    const connection = this.#connection;
    if (connection === undefined) return;
    const [source, target] = this.name === "stdin" ? [connection, endpoint] : [endpoint, connection];
    const drain = this.name !== "stdin"; // a lost host must not make the program block or get SIGPIPE
    this.#relay = this.#sys.relay(source, target, drain, () => {
      this.#relay = undefined;
      this.close();
    });
  }
}
