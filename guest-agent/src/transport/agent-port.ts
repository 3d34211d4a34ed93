import type { Server } from "../../../src/ttrpc/server.ts";
import type { Log } from "../log.ts";
import type { Sys } from "../sys.ts";
import { FdTransport } from "./fd-transport.ts";
import { Listener } from "./listener.ts";

/**
 * The host's connection to the agent. With vhost-vsock every process of the host can dial this port,
 * including another pod's VMM, so there is one connection: the newest (an older one may be an abandoned
 * dial), and after `seal`, when the VM has been assigned to its pod, no other.
 */
export class AgentPort {
  readonly #sys: Sys;
  readonly #server: Server;
  readonly #listener: Listener;
  readonly #taken: () => void;
  #current: FdTransport | undefined;
  #sealed = false;

  /** Owns `fd`, a listening socket; calls `taken` for every connection. */
  constructor(sys: Sys, fd: number, server: Server, log: Log, taken: () => void) {
    this.#sys = sys;
    this.#server = server;
    this.#taken = taken;
    this.#listener = new Listener(sys, fd, (connection) => this.take(connection), log);
  }

  /** Serves a connection, which it then owns. */
  take(fd: number): void {
    if (this.#sealed) {
      this.#sys.close(fd);
      return;
    }
    this.#taken();
    this.#current?.close();
    this.#current = new FdTransport(this.#sys, fd);
    this.#server.serve(this.#current);
  }

  /** Accepts no further connections. */
  seal(): void {
    this.#sealed = true;
    this.#listener.close();
  }
}
