import { randomInt } from "node:crypto";
import { createServer, type Server, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError, resourceExhausted } from "../core/errors.ts";
import { Semaphore } from "../core/semaphore.ts";
import { loadAddon, systemError } from "../host/addon.ts";

/** native/vsock.c. A negative result is a negated errno. */
interface Addon {
  connect(cid: number, port: number, milliseconds: number, done: (fd: number) => void): number;
  listen(cid: number, port: number, backlog: number): number;
  carrier(): number;
  replace(carrier: number, fd: number): number;
  reserve(cid: number): number;
  close(fd: number): number;
}

/** A context id that is reserved for as long as the descriptor, or a copy of it, is open. */
interface ReservedCid {
  readonly cid: number;
  /** /dev/vhost-vsock, for the VMM to inherit. */
  readonly fd: number;
  /** Closes our copy. Idempotent. */
  release(): void;
}

/** The first context id that may be used; the last is below VMADDR_CID_ANY (vsock(7)). */
const FIRST_CID = 3;
const ANY_CID = 0xffffffff;
/** If this many random ids out of 2^32 are taken, something else is wrong. */
const RESERVE_TRIES = 16;
const LONGEST_CONNECT_MS = 60_000;
/** Each connect has a descriptor until it is answered, and an unresponsive guest answers none; above this number others wait. */
const MAX_CONNECTS = 64;
const BACKLOG = 128;
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 500;

/** The kernel's vsock(7): streams between host and guest without a process in between. */
export class NativeVsock {
  readonly #addon: Addon;
  readonly #connects = new Semaphore(MAX_CONNECTS);

  /** @param path the addon, built from native/vsock.c. Throws Unavailable if it cannot be loaded. */
  constructor(path: string) {
    this.#addon = loadAddon<Addon>("vsock", path);
  }

  /**
   * Connects to a port and returns the socket, paused and allowHalfOpen. Rejects with Unavailable if nothing
   * listens (ECONNRESET) or the context id does not exist (ENODEV), with DeadlineExceeded if the peer does
   * not answer in time.
   */
  async connect(cid: number, port: number, deadline: Deadline): Promise<Socket> {
    deadline.check();
    const step = `connect to vsock ${cid}:${port}`;
    const release = await this.#connects.acquire(deadline);
    let wanted = true;
    const connected = new Promise<Socket>((resolve, reject) => {
      const limit = Math.max(1, Math.ceil(Math.min(deadline.remainingMs, LONGEST_CONNECT_MS)));
      const done = (fd: number) => {
        release();
        if (fd < 0) return reject(errorOf(step, fd));
        if (!wanted) return void this.#addon.close(fd);
        try {
          resolve(this.#stream(fd));
        } catch (thrown) {
          reject(HullError.wrap(step, thrown)); // no descriptor is left
        }
      };
      const started = this.#addon.connect(cid, port, limit, done);
      if (started < 0) done(started);
    });
    try {
      return await deadline.race(connected);
    } catch (thrown) {
      wanted = false;
      throw thrown;
    }
  }

  /** Retries `connect` until something listens. A DeadlineExceeded error has the last failure. */
  async connectUntilUp(cid: number, port: number, deadline: Deadline): Promise<Socket> {
    let pause = FIRST_PAUSE_MS;
    let last = "";
    try {
      while (true) {
        const limit = deadline.shorter(1000, "one attempt");
        try {
          return await this.connect(cid, port, limit);
        } catch (thrown) {
          deadline.check();
          last = `; last attempt: ${HullError.from(thrown).message}`;
        } finally {
          limit.dispose();
        }
        await deadline.race(sleep(pause));
        pause = Math.min(pause * 1.1, LONGEST_PAUSE_MS);
      }
    } catch (thrown) {
      const { code, message } = HullError.from(thrown);
      throw new HullError(code, `vsock ${cid}:${port}: ${message}${last}`, { cause: thrown });
    }
  }

  /** Listens on a port of `cid`, which is ours or VMADDR_CID_ANY. Throws Unavailable if the port is taken. */
  listen(cid: number, port: number, onConnection: (socket: Socket) => void): Server {
    const fd = this.#must(`listen on vsock ${cid}:${port}`, this.#addon.listen(cid, port, BACKLOG));
    const carrier = this.#carrier(fd);
    const server = createServer({ allowHalfOpen: true }, onConnection).listen({ fd: carrier });
    this.#replace(carrier, fd, () => server.close());
    return server;
  }

  /**
   * Reserves a random context id for a guest. The kernel refuses one that is taken, so that no two pods have the
   * same. Throws Unavailable if the host does not have /dev/vhost-vsock.
   */
  reserveCid(): ReservedCid {
    for (let count = 0; count < RESERVE_TRIES; count++) {
      try {
        // randomInt excludes the upper end; its range must be below 2^48.
        return this.reserve(randomInt(FIRST_CID, ANY_CID));
      } catch (thrown) {
        if (errnoOf((thrown as Error).cause) !== "EADDRINUSE") throw thrown;
      }
    }
    throw resourceExhausted(`vsock: ${RESERVE_TRIES} random context ids were all in use`);
  }

  /** Reserves this context id. Throws Unavailable if it is taken. */
  reserve(cid: number): ReservedCid {
    const fd = this.#must("reserve a vsock context id with /dev/vhost-vsock", this.#addon.reserve(cid));
    let open = true;
    const release = () => {
      if (open) this.#addon.close(fd);
      open = false;
    };
    return { cid, fd, release };
  }

  /**
   * Returns a stream for an AF_VSOCK descriptor. Node only accepts address families that it knows, so it gets
   * a Unix socket, which is then replaced: nothing was read or written, and read(2), write(2), shutdown(2)
   * and accept(2) work the same.
   */
  #stream(fd: number): Socket {
    const carrier = this.#carrier(fd);
    const socket = new Socket({ fd: carrier, readable: true, writable: true, allowHalfOpen: true });
    this.#replace(carrier, fd, () => socket.destroy());
    return socket;
  }

  /** Puts a vsock socket in the place of the carrier, or closes both. */
  #replace(carrier: number, fd: number, close: () => unknown): void {
    const answer = this.#addon.replace(carrier, fd);
    if (answer < 0) close();
    this.#must("vsock", answer);
  }

  #carrier(fd: number): number {
    const carrier = this.#addon.carrier();
    if (carrier < 0) this.#addon.close(fd);
    return this.#must("vsock", carrier);
  }

  #must(step: string, answer: number): number {
    if (answer < 0) throw errorOf(step, answer);
    return answer;
  }
}

function errorOf(step: string, answer: number): HullError {
  return HullError.wrap(step, systemError(answer), "Unavailable");
}
