/**
 * The network of a pod as the guest shall have it, in terms of neither `ip` nor the agent's wire format. Addresses are
 * text, as `ip` prints them; a CIDR carries the family.
 */
export interface NetworkSettings {
  readonly interfaces: readonly NetworkInterface[];
  /** In an order in which they can be added: gateways after the routes that reach them. */
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
}

export interface NetworkInterface {
  readonly name: string;
  /** Six hex bytes; also how the guest finds the interface. */
  readonly mac: string;
  /** Bytes. */
  readonly mtu: number;
  /** CIDR, v4 and v6. */
  readonly addresses: readonly string[];
}

export const ROUTE_TYPES = ["unicast", "blackhole", "unreachable", "prohibit", "throw"] as const;
export type RouteType = (typeof ROUTE_TYPES)[number];

/** A route of the main table. */
export interface Route {
  /** CIDR. */
  readonly destination: string;
  readonly type: RouteType;
  /** Empty: the destination is on the link. May be of the other family. */
  readonly gateway: string;
  /** Empty for a type that leads nowhere and with next hops. */
  readonly device: string;
  /** The preferred source address, or empty. */
  readonly source: string;
  readonly scope: string;
  readonly metric: number;
  readonly onlink: boolean;
  /** Bytes, 0 = the interface's. */
  readonly mtu: number;
  /** Several ways to the destination; `gateway`, `device` and `onlink` are empty then. */
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

/** How the guest's interfaces are tied to the pod's. */
export type NetworkModel = "tcfilter" | "macvtap" | "none";

export const EMPTY_NETWORK: NetworkSettings = { interfaces: [], routes: [], neighbours: [] };
