import { errnoName, type Sys } from "../sys.ts";
import { HOST_CID } from "./host-cid.ts";

const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 500;
/** A uevent has at most 2 KiB (UEVENT_BUFFER_SIZE in the kernel's include/linux/kobject.h) and a header. */
const UEVENT_BYTES = 4096;

/**
 * Dials the host as soon as there is a vsock device: at boot, or when one is hot-plugged into a clone. The
 * connection becomes the agent's, so that the host need not guess when the guest is up. Without a device, the
 * kernel's uevents trigger a retry; a host that refuses is dialled again at growing intervals.
 */
export class HostCall {
  readonly #sys: Sys;
  readonly #port: number;
  readonly #onConnection: (fd: number) => void;
  readonly #uevents: number;
  #wait = FIRST_RETRY_MS;
  #calling = false;
  #stopped = false;

  constructor(sys: Sys, port: number, onConnection: (fd: number) => void) {
    this.#sys = sys;
    this.#port = port;
    this.#onConnection = onConnection;
    this.#uevents = sys.netlinkUevents();
    const message = new Uint8Array(UEVENT_BYTES);
    sys.watch(this.#uevents, { read: true }, () => {
      this.#drain(message);
      this.#try();
    });
    this.#try();
  }

  /** Stops dialling: the host is connected. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#sys.unwatch(this.#uevents);
    this.#sys.close(this.#uevents);
  }

  /** Discards the messages: connect(2) finds out whether there is a device, and is cheap. */
  #drain(message: Uint8Array): void {
    try {
      while (this.#sys.read(this.#uevents, message, 0, message.length) > 0);
    } catch (error) {
      if (errnoName(error) !== "ENOBUFS") throw error; // messages were lost, which does not matter
    }
  }

  #try(): void {
    if (this.#stopped || this.#calling) return;
    let fd: number;
    try {
      fd = this.#sys.vsockConnect(HOST_CID, this.#port);
    } catch {
      return; // ENODEV, ENETUNREACH: no device yet
    }
    this.#calling = true;
    this.#sys.watch(fd, { write: true }, () => {
      this.#sys.unwatch(fd);
      this.#calling = false;
      if (this.#sys.socketError(fd) === 0 && !this.#stopped) {
        this.stop();
        this.#onConnection(fd);
        return;
      }
      this.#sys.close(fd);
      this.#sys.setTimer(this.#wait, () => this.#try());
      this.#wait = Math.min(this.#wait * 1.1, LONGEST_RETRY_MS);
    });
  }
}
