import type { Log } from "../log.ts";
import type { Sys } from "../sys.ts";
import { Listener } from "../transport/listener.ts";
import { Forward } from "./forward.ts";

const MAX_CONNECTIONS = 256;

/**
 * Serves the forward port: relays each connection that sends the pod's token to a TCP port of the guest's
 * localhost.
 */
export class ForwardListener {
  #token = "";
  readonly #open = new Set<Forward>();

  /** Takes over `fd`, a listening socket. */
  constructor(sys: Sys, fd: number, log: Log) {
    new Listener(
      sys,
      fd,
      (connection) => {
        if (this.#open.size >= MAX_CONNECTIONS) {
          log("warn", "forward: too many connections; closed one");
          sys.close(connection);
          return;
        }
        if (this.#token === "") {
          sys.close(connection);
          return;
        }
        const forward: Forward = new Forward(sys, connection, this.#token, () => this.#open.delete(forward));
        this.#open.add(forward);
      },
      log,
    );
  }

  /**
   * Accepts connections with this token from now on, and none before: every process of the host can dial this
   * port.
   */
  allow(token: string): void {
    this.#token = token;
  }
}
