import type { Sys } from "../sys.ts";

/** VMADDR_CID_HOST (vsock(7)). */
const HOST_CID = 2;
const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 500;

/**
 * Calls the host as soon as there is a vsock device: at boot, or when one is plugged into a clone. The connection is
 * the agent's: the host waits for it and need not guess when the guest is up. Tries are cheap, since a connect without
 * a device fails at once; they become rarer, so that a template's guest has little to do.
 */
export class HostCall {
  readonly #sys: Sys;
  readonly #port: number;
  readonly #onConnection: (fd: number) => void;
  #wait = FIRST_RETRY_MS;
  #stopped = false;

  constructor(sys: Sys, port: number, onConnection: (fd: number) => void) {
    this.#sys = sys;
    this.#port = port;
    this.#onConnection = onConnection;
    this.#try();
  }

  /** The host has come by another way. */
  stop(): void {
    this.#stopped = true;
  }

  #try(): void {
    if (this.#stopped) return;
    let fd: number;
    try {
      fd = this.#sys.vsockConnect(HOST_CID, this.#port);
    } catch {
      this.#later(); // ENODEV, ENETUNREACH: no device yet
      return;
    }
    this.#sys.watch(fd, { write: true }, () => {
      this.#sys.unwatch(fd);
      if (this.#sys.socketError(fd) === 0) {
        this.#onConnection(fd);
        return;
      }
      this.#sys.close(fd);
      this.#later();
    });
  }

  #later(): void {
    this.#sys.setTimer(this.#wait, () => this.#try());
    this.#wait = Math.min(this.#wait * 1.1, LONGEST_RETRY_MS);
  }
}
