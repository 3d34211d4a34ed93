import { errnoName, type Sys } from "../sys.ts";
import { End } from "./end.ts";

const CHUNK = 16_384;
/** Long, as for the token of a stream; without it, connections that send no port would use up all slots. */
const PORT_TIMEOUT_MS = 60_000;
/** IPv4 first: most programs listen there. */
const ADDRESSES = ["127.0.0.1", "::1"];

/**
 * A connection from the host to a TCP port of the guest's localhost. The host sends the pod's token (ASCII),
 * the port (two bytes) and then frames: two bytes of length (big-endian) and the content; an empty frame ends
 * that direction. Replies are framed, too, and the host closes: a vsock backend may drop the last bytes of a
 * connection that the guest closes.
 */
export class Forward {
  readonly #sys: Sys;
  readonly #host: End;
  readonly #token: string;
  readonly #done: () => void;
  readonly #limit: number;
  #tcp: End | undefined;
  /** Received and not parsed yet. */
  #input = new Uint8Array();
  #port = 0;
  #tried = 0;
  #connected = false;
  #hostEnded = false;
  #tcpEnded = false;
  #shut = false;

  /** Owns `fd`; calls `done` once everything is closed. */
  constructor(sys: Sys, fd: number, token: string, done: () => void) {
    this.#sys = sys;
    this.#token = token;
    this.#host = new End(sys, fd);
    this.#done = done;
    this.#limit = sys.setTimer(PORT_TIMEOUT_MS, () => this.#close());
    this.#update();
  }

  #ready(): void {
    try {
      this.#step();
    } catch {
      // One side has closed or reset its connection: close the other, too.
      this.#close();
      return;
    }
    this.#update();
  }

  #step(): void {
    this.#host.flush();
    if (this.#tcp && !this.#connected) this.#finishConnect();
    if (this.#tcp && this.#connected) this.#tcp.flush();
    if (this.#wantsHost()) this.#readHost();
    if (this.#wantsTcp()) this.#readTcp();
    const tcp = this.#tcp;
    if (tcp && this.#connected && this.#hostEnded && tcp.drained && !this.#shut) {
      this.#shut = true;
      this.#sys.shutdown(tcp.fd, this.#sys.SHUT_WR);
    }
  }

  #wantsHost(): boolean {
    // Keep reading after the end of the input, to notice when the host closes.
    return this.#port === 0 || this.#hostEnded || (this.#connected && (this.#tcp?.drained ?? false));
  }

  #wantsTcp(): boolean {
    return this.#connected && !this.#tcpEnded && this.#host.drained;
  }

  #readHost(): void {
    const buffer = new Uint8Array(CHUNK);
    const got = this.#sys.read(this.#host.fd, buffer, 0, CHUNK);
    if (got < 0) return;
    if (got === 0) throw new Error("the host closed the connection");
    if (this.#hostEnded) return;
    const input = new Uint8Array(this.#input.length + got);
    input.set(this.#input);
    input.set(buffer.subarray(0, got), this.#input.length);
    this.#input = input;
    if (this.#port === 0) {
      const { length } = this.#token;
      if (input.length < length + 2) return;
      if (String.fromCharCode(...input.subarray(0, length)) !== this.#token) throw new Error("wrong token");
      this.#input = input.subarray(length);
      this.#port = this.#take();
      this.#sys.clearTimer(this.#limit);
      this.#connect();
    }
    this.#takeFrames();
  }

  /** Takes a 16-bit number from the input. */
  #take(): number {
    const [high = 0, low = 0] = this.#input;
    this.#input = this.#input.subarray(2);
    return (high << 8) | low;
  }

  #takeFrames(): void {
    while (!this.#hostEnded && this.#input.length >= 2) {
      const [high = 0, low = 0] = this.#input;
      const length = (high << 8) | low;
      if (this.#input.length < 2 + length) return;
      this.#take();
      if (length === 0) this.#hostEnded = true;
      this.#tcp?.push(this.#input.slice(0, length));
      this.#input = this.#input.subarray(length);
    }
    if (this.#connected) this.#tcp?.flush();
  }

  #connect(): void {
    const waiting = this.#tcp;
    for (; this.#tried < ADDRESSES.length; ) {
      const address = ADDRESSES[this.#tried++] as string;
      try {
        this.#tcp = new End(this.#sys, this.#sys.tcpConnect(address, this.#port));
        waiting?.close();
        return;
      } catch (error) {
        if (this.#tried === ADDRESSES.length || errnoName(error) === undefined) throw error;
      }
    }
    throw new Error("nothing listens there");
  }

  #finishConnect(): void {
    const tcp = this.#tcp;
    if (!tcp) return;
    if (this.#sys.socketError(tcp.fd) === 0) this.#connected = true;
    else this.#connect();
  }

  #readTcp(): void {
    const frame = new Uint8Array(2 + CHUNK);
    const got = this.#sys.read((this.#tcp as End).fd, frame, 2, CHUNK);
    if (got < 0) return;
    this.#tcpEnded = got === 0;
    frame[0] = got >> 8;
    frame[1] = got & 0xff;
    this.#host.push(frame.subarray(0, 2 + got));
    this.#host.flush();
  }

  #update(): void {
    const ready = () => this.#ready();
    this.#host.watch({ read: this.#wantsHost(), write: !this.#host.drained }, ready);
    const tcp = this.#tcp;
    tcp?.watch({ read: this.#wantsTcp(), write: !this.#connected || !tcp.drained }, ready);
  }

  #close(): void {
    this.#sys.clearTimer(this.#limit);
    this.#host.close();
    this.#tcp?.close();
    this.#done();
  }
}
