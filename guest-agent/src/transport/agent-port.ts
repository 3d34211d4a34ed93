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
  readonly #connected: () => void;
  #current: FdTransport | undefined;
  #sealed = false;

  /** Owns `fd`, a listening socket; calls `connected` for every connection. */
  constructor(sys: Sys, fd: number, server: Server, log: Log, connected: () => void) {
    this.#sys = sys;
    this.#server = server;
    this.#connected = connected;
    this.#listener = new Listener(sys, fd, (connection) => this.take(connection), log);
  }

  /** Serves a connection, which it then owns. */
  take(fd: number): void {
    if (this.#sealed) {
      this.#sys.close(fd);
      return;
    }
    this.#connected();
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
