import { internal } from "../core/errors.ts";

/** What `ip -j -d` prints (iproute2, ip/ipaddress.c, iproute.c, ipneigh.c), as far as it is used here. */
export interface IpLink {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly link_type: string;
  readonly address?: string;
  /** Set for a port of a bridge or bond. */
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly IpAddress[];
}

interface IpAddress {
  readonly family: string;
  readonly local: string;
  /** The peer of a point-to-point address; `prefixlen` is the peer's then. */
  readonly address?: string;
  readonly prefixlen: number;
  readonly dadfailed?: boolean;
}

export interface IpRoute {
  readonly type?: string;
  /** A CIDR, an address, or `default`. */
  readonly dst: string;
  readonly gateway?: string;
  /** A gateway of the other family. */
  readonly via?: { readonly host: string };
  readonly dev?: string;
  readonly table?: string;
  readonly prefsrc?: string;
  readonly scope?: string;
  readonly metric?: number;
  readonly flags?: readonly string[];
  readonly metrics?: readonly { readonly mtu?: number }[];
  /** Router preference (RFC 4191): every v6 route has one and no v4 route. */
  readonly pref?: string;
  readonly nexthops?: readonly {
    readonly gateway?: string;
    readonly via?: { readonly host: string };
    readonly dev: string;
    readonly weight?: number;
    readonly flags?: readonly string[];
  }[];
}

interface IpNeighbour {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr?: string;
}

/** The answers to the three commands of `SCAN_BATCH`, one JSON list each; a command without results may print nothing. */
export interface IpAnswers {
  readonly links: readonly IpLink[];
  readonly routes: readonly IpRoute[];
  readonly neighbours: readonly IpNeighbour[];
}

/** `route show table all` is the one form that lists both families at once. */
export const SCAN_BATCH = "addr show\nroute show table all\nneigh show nud permanent\n";

/** Takes the output of `ip -j -d -batch` apart. Throws Internal when it is something else. */
export function parseIpAnswers(output: string): IpAnswers {
  const lists = output
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      try {
        const list: unknown = JSON.parse(line);
        if (Array.isArray(list)) return list as unknown[];
      } catch {
        // told below, with what it was
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
