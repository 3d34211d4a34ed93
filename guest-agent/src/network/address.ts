import { invalidArgument } from "../../../src/core/errors.ts";

/** Address family of IPv4 (socket(2)). */
export const AF_INET = 2;
/** Address family of IPv6. */
export const AF_INET6 = 10;

/** An IP address: 4 or 16 bytes in network order. */
export interface IpAddress {
  readonly family: typeof AF_INET | typeof AF_INET6;
  readonly bytes: Uint8Array;
}

/** An IP address with the length of its network prefix. */
export interface Cidr extends IpAddress {
  /** In bits. */
  readonly prefix: number;
}

/**
 * Parses an address in dotted (IPv4) or RFC 4291 (IPv6) notation. Throws InvalidArgument; `what` starts the
 * message.
 */
export function parseAddress(what: string, text: string): IpAddress {
  const bytes = text.includes(":") ? v6Bytes(text) : v4Bytes(text);
  if (!bytes) throw invalidArgument(`${what}: ${JSON.stringify(text.slice(0, 64))} is not an IP address`);
  return { family: bytes.length === 4 ? AF_INET : AF_INET6, bytes };
}

/** Parses `address/prefix`. Throws InvalidArgument. */
export function parseCidr(what: string, text: string): Cidr {
  const [host = "", bits = "", ...more] = text.split("/");
  const address = parseAddress(what, host);
  const prefix = Number(bits);
  if (more.length > 0 || !/^\d{1,3}$/.test(bits) || prefix > address.bytes.length * 8) {
    throw invalidArgument(
      `${what}: ${JSON.stringify(text.slice(0, 64))} is not an address with a prefix length`,
    );
  }
  return { ...address, prefix };
}

/** Parses six hex bytes separated by colons. Throws InvalidArgument. */
export function parseMac(what: string, text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw invalidArgument(`${what}: ${JSON.stringify(text.slice(0, 64))} is not a MAC address`);
  }
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

function v4Bytes(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  const valid =
    parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return valid ? Uint8Array.from(parts, Number) : undefined;
}

function v6Bytes(text: string): Uint8Array | undefined {
  const [head = "", tail, ...more] = text.split("::");
  if (more.length > 0) return undefined;
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  if (!before || !after) return undefined;
  const missing = 8 - before.length - after.length;
  // `::` stands for at least one group.
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const all = [...before, ...new Array<number>(missing).fill(0), ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** 16-bit groups; the last two may be written as an IPv4 address. */
function groups(text: string): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const last = parts.at(-1) ?? "";
  const dotted = last.includes(".") ? v4Bytes(last) : undefined;
  if (dotted) {
    const [a = 0, b = 0, c = 0, d = 0] = dotted;
    parts.splice(-1, 1, ((a << 8) | b).toString(16), ((c << 8) | d).toString(16));
  }
  if (!parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return undefined;
  return parts.map((part) => Number.parseInt(part, 16));
}
