import { invalidArgument } from "../../../src/core/errors.ts";
import type { Neighbour, NextHop, Route } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { AF_INET, type Cidr, type IpAddress, parseAddress, parseCidr, parseMac } from "./address.ts";

/**
 * Adds an address. This file builds the bodies of rtnetlink(7) messages: a fixed header in the machine's
 * (little-endian) order, then attributes. The numbers are from linux/rtnetlink.h, if_addr.h, if_link.h and
 * neighbour.h.
 */
export const RTM_NEWADDR = 20;
/** Adds a route. */
export const RTM_NEWROUTE = 24;
/** Adds a neighbour. */
export const RTM_NEWNEIGH = 28;

/** Replaces an existing object. */
export const NLM_F_REPLACE = 0x100;
/** Creates the object if it does not exist. */
export const NLM_F_CREATE = 0x400;
/** Adds to the end of the list. */
export const NLM_F_APPEND = 0x800;

const IFF_UP = 1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTNH_F_ONLINK = 4;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

const SCOPES: Readonly<Record<string, number>> = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 };
const TYPES: Readonly<Record<string, number>> = {
  unicast: 1,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
};

/** Returns the index of an interface; throws if it does not exist. */
type IndexOf = (device: string) => number;

/** Returns an `ifinfomsg` that renames an interface. */
export function renameLink(index: number, name: string): Uint8Array {
  return concat([linkHeader(index, 0, 0), attribute(IFLA_IFNAME, text(name))]);
}

/** Returns an `ifinfomsg` that changes the MAC address of an interface. */
export function setLinkAddress(index: number, mac: Uint8Array): Uint8Array {
  return concat([linkHeader(index, 0, 0), attribute(IFLA_ADDRESS, mac)]);
}

/** Returns an `ifinfomsg` that sets an interface down. */
export function linkDown(index: number): Uint8Array {
  return linkHeader(index, 0, IFF_UP);
}

/** Returns an `ifinfomsg` that sets the MTU and sets the interface up. */
export function linkUpWithMtu(index: number, mtu: number): Uint8Array {
  return concat([linkHeader(index, IFF_UP, IFF_UP), attribute(IFLA_MTU, u32(mtu))]);
}

/**
 * Returns an `ifaddrmsg` for an address that is usable at once (the host has done duplicate address
 * detection) and adds no route: the host's routes are copied one by one.
 */
export function newAddress(index: number, address: Cidr): Uint8Array {
  const { family, bytes, prefix } = address;
  const parts = [
    Uint8Array.of(family, prefix, 0, 0),
    u32(index),
    attribute(IFA_ADDRESS, bytes),
    attribute(IFA_FLAGS, u32(IFA_F_NODAD | IFA_F_NOPREFIXROUTE)),
  ];
  if (family === AF_INET) {
    parts.push(attribute(IFA_LOCAL, bytes));
    if (prefix < 31) parts.push(attribute(IFA_BROADCAST, broadcast(bytes, prefix)));
  }
  return concat(parts);
}

/** Returns an `rtmsg` for a route of the main table. Throws InvalidArgument. */
export function newRoute(route: Route, indexOf: IndexOf): Uint8Array {
  const what = `route ${JSON.stringify(route.destination.slice(0, 64))}`;
  const { family, bytes, prefix } = parseCidr(what, route.destination);
  const scope = SCOPES[route.scope];
  const type = TYPES[route.type];
  if (scope === undefined)
    throw invalidArgument(`${what}: unknown scope ${JSON.stringify(route.scope.slice(0, 32))}`);
  if (type === undefined)
    throw invalidArgument(`${what}: unknown type ${JSON.stringify(route.type.slice(0, 32))}`);
  if (type === TYPES.unicast && route.device === "" && route.nextHops.length === 0)
    throw invalidArgument(`${what}: neither a device nor next hops`);
  const flags = route.onlink ? RTNH_F_ONLINK : 0;
  const parts = [Uint8Array.of(family, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, type), u32(flags)];
  if (prefix > 0) parts.push(attribute(RTA_DST, bytes));
  if (route.device !== "") parts.push(attribute(RTA_OIF, u32(indexOf(route.device))));
  if (route.gateway !== "") parts.push(gateway(what, family, route.gateway));
  if (route.metric > 0) parts.push(attribute(RTA_PRIORITY, u32(route.metric)));
  if (route.source !== "") {
    const source = parseAddress(`${what}: source`, route.source);
    if (source.family !== family)
      throw invalidArgument(`${what}: its source is of a different address family`);
    parts.push(attribute(RTA_PREFSRC, source.bytes));
  }
  if (route.mtu > 0) parts.push(attribute(RTA_METRICS, attribute(RTAX_MTU, u32(route.mtu))));
  if (route.nextHops.length > 0) {
    parts.push(
      attribute(RTA_MULTIPATH, concat(route.nextHops.map((hop) => nextHop(what, family, hop, indexOf)))),
    );
  }
  return concat(parts);
}

/** Returns an `ndmsg` for a permanent neighbour. Throws InvalidArgument. */
export function newNeighbour(neighbour: Neighbour, indexOf: IndexOf): Uint8Array {
  const what = `neighbour ${JSON.stringify(neighbour.address.slice(0, 64))}`;
  const { family, bytes } = parseAddress(what, neighbour.address);
  return concat([
    Uint8Array.of(family, 0, 0, 0),
    u32(indexOf(neighbour.device)),
    Uint8Array.of(NUD_PERMANENT, 0, 0, 0),
    attribute(NDA_DST, bytes),
    attribute(NDA_LLADDR, parseMac(what, neighbour.mac)),
  ]);
}

/** `rtnexthop`; its `hops` is the weight minus one. */
function nextHop(what: string, family: number, hop: NextHop, indexOf: IndexOf): Uint8Array {
  if (hop.weight < 1 || hop.weight > 256)
    throw invalidArgument(`${what}: weight ${hop.weight}: must be 1 to 256`);
  const via = hop.gateway === "" ? new Uint8Array() : gateway(what, family, hop.gateway);
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint16(0, 8 + via.length, true);
  header[2] = hop.onlink ? RTNH_F_ONLINK : 0;
  header[3] = hop.weight - 1;
  return concat([header, u32(indexOf(hop.device)), via]);
}

/**
 * A gateway of the other address family has a separate attribute, which starts with the family as a 16-bit
 * number.
 */
function gateway(what: string, family: number, text: string): Uint8Array {
  const via: IpAddress = parseAddress(`${what}: gateway`, text);
  if (via.family === family) return attribute(RTA_GATEWAY, via.bytes);
  return attribute(RTA_VIA, concat([Uint8Array.of(via.family, 0), via.bytes]));
}

function linkHeader(index: number, flags: number, change: number): Uint8Array {
  return concat([u32(0), u32(index), u32(flags), u32(change)]);
}

function broadcast(bytes: Uint8Array, prefix: number): Uint8Array {
  return bytes.map((byte, index) => {
    const network = Math.min(8, Math.max(0, prefix - index * 8));
    return byte | (0xff >> network);
  });
}

/** `rtattr`: length, type, content, padded to four bytes. */
function attribute(type: number, content: Uint8Array): Uint8Array {
  const length = 4 + content.length;
  const encoded = new Uint8Array((length + 3) & ~3);
  const view = new DataView(encoded.buffer);
  view.setUint16(0, length, true);
  view.setUint16(2, type, true);
  encoded.set(content, 4);
  return encoded;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
