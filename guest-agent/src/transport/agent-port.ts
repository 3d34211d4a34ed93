import type { Server } from "../../../src/ttrpc/server.ts";
import type { Log } from "../log.ts";
import type { Sys } from "../sys.ts";
import { FdTransport } from "./fd-transport.ts";
import { Listener } from "./listener.ts";

/**
 * The host's connection to the agent. With the kernel's vsock every process of the host can dial this port, that of another
 * pod's VMM too. So there is one connection: the newest, as a dial that was given up may have arrived before it, and
 * after `seal`, when it has made the VM its pod's, no other.
 */
export class AgentPort {
  readonly #sys: Sys;
  readonly #server: Server;
  readonly #listener: Listener;
  readonly #taken: () => void;
  #current: FdTransport | undefined;
  #sealed = false;

  /** Takes over `fd`, a listening socket; `taken` is called for every connection. */
  constructor(sys: Sys, fd: number, server: Server, log: Log, taken: () => void) {
    this.#sys = sys;
    this.#server = server;
    this.#taken = taken;
    this.#listener = new Listener(sys, fd, (connection) => this.take(connection), log);
  }

  /** Serves a connection, which it owns. */
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

  seal(): void {
    this.#sealed = true;
    this.#listener.close();
  }
}
