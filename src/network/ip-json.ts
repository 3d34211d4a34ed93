import { internal } from "../core/errors.ts";

/** What hull uses of a link in the output of `ip -j -d` (iproute2, ip/ipaddress.c). */
export interface IpLink {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly link_type: string;
  readonly address?: string;
  /** Set for a port of a bridge or bond. */
  readonly master?: string;
  /** The interface below a VLAN or macvlan, if it is in the same namespace. */
  readonly link?: string;
  /** The bus of the device behind it, and the device's name there: `pci`, `0000:01:00.0` (Linux and iproute2 5.14). */
  readonly parentbus?: string;
  readonly parentdev?: string;
  readonly ifalias?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly IpAddress[];
}

interface IpAddress {
  readonly family: string;
  readonly local: string;
  /** The peer of a point-to-point address; `prefixlen` then is the peer's. */
  readonly address?: string;
  readonly prefixlen: number;
  readonly dadfailed?: boolean;
}

/** What hull uses of a route in the output of `ip -j -d` (iproute2, ip/iproute.c). */
export interface IpRoute {
  readonly type?: string;
  /** A CIDR, an address, or `default`. */
  readonly dst: string;
  readonly gateway?: string;
  /** A gateway of the other address family. */
  readonly via?: { readonly host: string };
  readonly dev?: string;
  readonly table?: string;
  readonly prefsrc?: string;
  readonly scope?: string;
  readonly metric?: number;
  readonly flags?: readonly string[];
  readonly metrics?: readonly { readonly mtu?: number }[];
  /** Router preference (RFC 4191): all IPv6 routes have one, IPv4 routes do not. */
  readonly pref?: string;
  readonly nexthops?: readonly {
    readonly gateway?: string;
    readonly via?: { readonly host: string };
    readonly dev: string;
    readonly weight?: number;
    readonly flags?: readonly string[];
  }[];
}

/** What hull uses of a neighbour in the output of `ip -j -d` (iproute2, ip/ipneigh.c). */
interface IpNeighbour {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr?: string;
}

/**
 * The output of the three commands of `SCAN_BATCH`, a JSON list each; a command without results may print
 * nothing.
 */
export interface IpAnswers {
  readonly links: readonly IpLink[];
  readonly routes: readonly IpRoute[];
  readonly neighbours: readonly IpNeighbour[];
}

/** The batch for `ip`. Only `route show table all` lists both address families at once. */
export const SCAN_BATCH = "addr show\nroute show table all\nneigh show nud permanent\n";

/** Parses the output of `ip -j -d -batch`. Throws Internal if it is something else. */
export function parseIpAnswers(output: string): IpAnswers {
  const lists = output
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      try {
        const list: unknown = JSON.parse(line);
        if (Array.isArray(list)) return list as unknown[];
      } catch {
        // reported below, with the line
      }
      throw internal(`ip: its output is not one JSON list per line: ${line.slice(0, 120)}`);
    });
  if (lists.length > 3) throw internal(`ip: expected three JSON lists, got ${lists.length}`);
  const has = (key: string) => (list: unknown[]) =>
    list.some((entry) => entry !== null && typeof entry === "object" && key in entry);
  return {
    links: (lists.find(has("ifname")) ?? []) as IpLink[],
    routes: (lists.find((list) => has("dst")(list) && !has("lladdr")(list)) ?? []) as IpRoute[],
    neighbours: (lists.find(has("lladdr")) ?? []) as IpNeighbour[],
  };
}
