import { HullError, internal } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";

/** rtnetlink(7) and linux/netlink.h: message types, flags and header sizes. */
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const HEADER_BYTES = 16;
/** Creates or changes an interface (rtnetlink(7)). */
export const RTM_NEWLINK = 16;
const IFF_UP = 1;

/** The most frequent errors of rtnetlink. */
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  22: "EINVAL",
  95: "EOPNOTSUPP",
  99: "EADDRNOTAVAIL",
  101: "ENETUNREACH",
  113: "EHOSTUNREACH",
};

/**
 * Returns a netlink message that requests an acknowledgement: header (nlmsghdr) and body, in the machine's
 * little-endian order.
 */
export function encodeRequest(type: number, sequence: number, body: Uint8Array, flags = 0): Uint8Array {
  const message = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(message.buffer);
  view.setUint32(0, message.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_ACK | flags, true);
  view.setUint32(8, sequence, true);
  message.set(body, HEADER_BYTES);
  return message;
}

/** Returns a `struct ifinfomsg` that sets an interface up. */
export function linkUp(index: number): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, IFF_UP, true);
  view.setUint32(12, IFF_UP, true);
  return body;
}

/**
 * Returns the errno of the acknowledgement with this sequence number (0: success), or undefined for any other
 * message.
 */
export function decodeAck(message: Uint8Array, sequence: number): number | undefined {
  if (message.length < HEADER_BYTES + 4) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  if (view.getUint16(4, true) !== NLMSG_ERROR || view.getUint32(8, true) !== sequence) return undefined;
  return Math.abs(view.getInt32(HEADER_BYTES, true));
}

/**
 * A NETLINK_ROUTE socket. The kernel processes a request within write(2) and has answered when it returns.
 */
export class RouteSocket {
  readonly #sys: Pick<Sys, "netlinkRoute" | "read" | "write" | "close">;
  readonly #fd: number;
  #sequence = 0;

  constructor(sys: Pick<Sys, "netlinkRoute" | "read" | "write" | "close">) {
    this.#sys = sys;
    this.#fd = sys.netlinkRoute();
  }

  /**
   * Sends a request. Throws Internal if the kernel refuses it, except with one of the `accepted` errnos;
   * `step` starts the message.
   */
  request(step: string, type: number, body: Uint8Array, flags = 0, accepted: readonly number[] = []): void {
    const sequence = ++this.#sequence;
    const message = encodeRequest(type, sequence, body, flags);
    this.#sys.write(this.#fd, message, 0, message.length);
    const buffer = new Uint8Array(8192);
    for (;;) {
      const length = this.#sys.read(this.#fd, buffer, 0, buffer.length);
      if (length <= 0) throw internal(`${step}: the kernel did not answer`);
      const errno = decodeAck(buffer.subarray(0, length), sequence);
      if (errno === undefined) continue;
      if (errno !== 0 && !accepted.includes(errno)) {
        throw new HullError(
          "Internal",
          `${step}: the kernel refused it: ${ERRNO_NAMES[errno] ?? `errno ${errno}`}`,
        );
      }
      return;
    }
  }

  close(): void {
    this.#sys.close(this.#fd);
  }
}

const LOOPBACK_INDEX = 1;

/** Sets `lo` up; it is interface 1 of every network namespace. */
export function loopbackUp(sys: Pick<Sys, "netlinkRoute" | "read" | "write" | "close">): void {
  const socket = new RouteSocket(sys);
  try {
    socket.request("lo: set up", RTM_NEWLINK, linkUp(LOOPBACK_INDEX));
  } finally {
    socket.close();
  }
}
