/**
 * The guest's network, independent of `ip` and of the agent's wire format. Addresses are strings, as `ip`
 * prints them; a CIDR implies the family.
 */
export interface NetworkSettings {
  readonly interfaces: readonly NetworkInterface[];
  /** In an order in which they can be added: gateways after the routes to them. */
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  /** The guest's directory of drivers for assigned devices, if there is one. */
  readonly moduleDirectory?: string | undefined;
}

/** A network interface of the guest. */
export interface NetworkInterface {
  readonly name: string;
  /** Six hex bytes. The guest finds the interface by it, unless it is an assigned device's. */
  readonly mac: string;
  /** In bytes. */
  readonly mtu: number;
  /** CIDRs, IPv4 and IPv6. */
  readonly addresses: readonly string[];
  /** Where the guest finds the assigned device whose interface it is (`Plugged.pciPath`). */
  readonly pciPath?: string;
}

/** The kinds of routes that the guest gets. */
export const ROUTE_TYPES = ["unicast", "blackhole", "unreachable", "prohibit", "throw"] as const;
/** One of `ROUTE_TYPES`. */
export type RouteType = (typeof ROUTE_TYPES)[number];

/** A route of the main table. */
export interface Route {
  /** A CIDR. */
  readonly destination: string;
  readonly type: RouteType;
  /** Empty if the destination is on-link. May be of the other address family. */
  readonly gateway: string;
  /** Empty with next hops, and for types that drop packets. */
  readonly device: string;
  /** The preferred source address; may be empty. */
  readonly source: string;
  readonly scope: string;
  readonly metric: number;
  readonly onlink: boolean;
  /** In bytes; 0 = the interface's. */
  readonly mtu: number;
  /** For multipath routes; then `gateway`, `device` and `onlink` are empty. */
  readonly nextHops: readonly NextHop[];
}

interface NextHop {
  readonly gateway: string;
  readonly device: string;
  readonly weight: number;
  readonly onlink: boolean;
}

/** A permanent neighbour entry. */
export interface Neighbour {
  readonly address: string;
  readonly mac: string;
  readonly device: string;
}

/** How the guest's interfaces are connected to the pod's. */
export type NetworkModel = "tcfilter" | "macvtap" | "none";

/** The network of a guest without interfaces. */
export const EMPTY_NETWORK: NetworkSettings = { interfaces: [], routes: [], neighbours: [] };
