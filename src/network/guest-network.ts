import type { IpAnswers, IpLink, IpRoute } from "./ip-json.ts";
import {
  type Neighbour,
  type NetworkInterface,
  type NetworkSettings,
  ROUTE_TYPES,
  type Route,
  type RouteType,
} from "./network-settings.ts";

/**
 * Derives the guest's network from the contents of the pod's namespace. `ours` are the taps of this pod's VM.
 */
export function networkSettings(answers: IpAnswers, ours: ReadonlySet<string> = new Set()): NetworkSettings {
  const links = answers.links.filter((link) => isEndpoint(link) && !ours.has(link.ifname));
  const names = new Set(links.map(({ ifname }) => ifname));
  return {
    interfaces: links.map(networkInterface),
    routes: answers.routes
      .flatMap((route) => guestRoute(route, names))
      .sort((one, other) => reach(one) - reach(other)),
    neighbours: answers.neighbours.flatMap(({ dst, dev, lladdr }): Neighbour[] =>
      names.has(dev) && lladdr !== undefined ? [{ address: dst, mac: lladdr, device: dev }] : [],
    ),
  };
}

/** Returns the part of a network that leads over one interface. */
export function networkOf(all: NetworkSettings, name: string): NetworkSettings {
  return {
    interfaces: all.interfaces.filter((one) => one.name === name),
    routes: all.routes.filter((route) => usesAny(route, [name])),
    neighbours: all.neighbours.filter(({ device }) => device === name),
  };
}

/** Returns a network without some of its interfaces and what leads over them. */
export function networkWithout(all: NetworkSettings, names: readonly string[]): NetworkSettings {
  return {
    interfaces: all.interfaces.filter(({ name }) => !names.includes(name)),
    routes: all.routes.filter((route) => !usesAny(route, names)),
    neighbours: all.neighbours.filter(({ device }) => !names.includes(device)),
  };
}

/** Returns both networks as one, in an order in which it can be set up. */
export function joinNetworks(one: NetworkSettings, other: NetworkSettings): NetworkSettings {
  return {
    interfaces: [...one.interfaces, ...other.interfaces],
    routes: [...one.routes, ...other.routes].sort((a, b) => reach(a) - reach(b)),
    neighbours: [...one.neighbours, ...other.neighbours],
  };
}

const usesAny = ({ device, nextHops }: Route, names: readonly string[]) =>
  names.includes(device) || nextHops.some((hop) => names.includes(hop.device));

/**
 * Whether it is an Ethernet interface that is up and not part of a bridge or bond; excludes loopback and
 * tunnels.
 */
function isEndpoint(link: IpLink): boolean {
  return (
    link.link_type === "ether" &&
    link.address !== undefined &&
    link.master === undefined &&
    link.flags.includes("UP")
  );
}

function networkInterface({ ifname, address, mtu, addr_info }: IpLink): NetworkInterface {
  return {
    name: ifname,
    mac: address ?? "",
    mtu,
    addresses: (addr_info ?? [])
      .filter(({ dadfailed }) => !dadfailed)
      .map(({ family, local, prefixlen, address: peer }) => {
        const host = family === "inet6" ? 128 : 32;
        // The routes are copied, too, so the peer is not needed.
        return `${local}/${peer === undefined ? prefixlen : host}`;
      }),
  };
}

/**
 * Converts a route for the guest. Returns nothing for routes over interfaces that the guest does not have,
 * and for tables other than main, which the kernel maintains (`local`) or which need policy rules.
 */
function guestRoute(route: IpRoute, names: ReadonlySet<string>): Route[] {
  const type = route.type ?? "unicast";
  if ((route.table ?? "main") !== "main" || !isRouteType(type)) return [];
  const nextHops = (route.nexthops ?? [])
    .filter(({ dev }) => names.has(dev))
    .map(({ gateway, via, dev, weight, flags }) => ({
      gateway: gateway ?? via?.host ?? "",
      device: dev,
      weight: weight ?? 1,
      onlink: flags?.includes("onlink") ?? false,
    }));
  // The kernel attaches IPv6 routes without a next hop to `lo`.
  const device = type === "unicast" ? (route.dev ?? "") : "";
  if (type === "unicast" && nextHops.length === 0 && !names.has(device)) return [];
  return [
    {
      destination: destination(route),
      type,
      gateway: route.gateway ?? route.via?.host ?? "",
      device,
      source: route.prefsrc ?? "",
      scope: route.scope ?? "global",
      metric: route.metric ?? 0,
      onlink: route.flags?.includes("onlink") ?? false,
      mtu: route.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu ?? 0,
      nextHops,
    },
  ];
}

function isRouteType(type: string): type is RouteType {
  return (ROUTE_TYPES as readonly string[]).includes(type);
}

function destination({ dst, pref }: IpRoute): string {
  if (dst === "default") return pref === undefined ? "0.0.0.0/0" : "::/0";
  if (dst.includes("/")) return dst;
  return `${dst}/${dst.includes(":") ? 128 : 32}`;
}

/** Sorts on-link routes first: the kernel accepts a gateway only if there is a route to it. */
function reach({ gateway, nextHops }: Route): number {
  return gateway === "" && nextHops.length === 0 ? 0 : 1;
}
