import { invalidArgument, notFound } from "../../../src/core/errors.ts";
import type {
  NetworkInterface,
  UpdateNetworkRequest,
} from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { ModuleLibrary } from "../devices/module-library.ts";
import type { Log } from "../log.ts";
import { allowing, type Sys } from "../sys.ts";
import { AF_INET6, parseCidr, parseMac } from "./address.ts";
import { checkAssigned, prepareAssigned } from "./assigned-links.ts";
import { awaitLinks, listLinks } from "./links.ts";
import { RouteSocket, RTM_NEWLINK } from "./netlink.ts";
import {
  linkDown,
  linkUpWithMtu,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  newAddress,
  newNeighbour,
  newRoute,
  RTM_NEWADDR,
  RTM_NEWNEIGH,
  RTM_NEWROUTE,
  renameLink,
} from "./route-messages.ts";

const NAME = /^[A-Za-z0-9_.:-]{1,15}$/;
const MAX_INTERFACES = 64;
const MAX_ADDRESSES = 256;
const MAX_ROUTES = 4096;
const MAX_NEIGHBOURS = 4096;
const MIN_MTU = 68;
const MAX_MTU = 65535;
const APPEAR_TIMEOUT_MS = 10_000;
const EEXIST = 17;

type Network = Pick<UpdateNetworkRequest, "interfaces" | "routes" | "neighbours">;

/** Throws InvalidArgument for a network that could not be configured; changes nothing. */
export function checkNetwork({ interfaces, routes, neighbours }: Network): void {
  const limit = (what: string, count: number, most: number) => {
    if (count > most) throw invalidArgument(`network: ${count} ${what}, at most ${most}`);
  };
  limit("interfaces", interfaces.length, MAX_INTERFACES);
  limit("routes", routes.length, MAX_ROUTES);
  limit("neighbours", neighbours.length, MAX_NEIGHBOURS);
  checkAssigned(interfaces);
  for (const { name, mac, mtu, addresses } of interfaces) {
    if (!NAME.test(name) || name === "." || name === ".." || name === "lo")
      throw invalidArgument(`network: ${JSON.stringify(name.slice(0, 32))} cannot be an interface's name`);
    parseMac(`interface ${name}`, mac);
    if (mtu < MIN_MTU || mtu > MAX_MTU)
      throw invalidArgument(`interface ${name}: MTU ${mtu}: must be ${MIN_MTU} to ${MAX_MTU}`);
    limit(`addresses of interface ${name}`, addresses.length, MAX_ADDRESSES);
    for (const address of addresses) parseCidr(`interface ${name}`, address);
  }
  const known = new Set(interfaces.map(({ name }) => name));
  if (known.size < interfaces.length || new Set(interfaces.map(macOf)).size < interfaces.length)
    throw invalidArgument("network: two interfaces have the same name or MAC address");
  const indexOf = (device: string) => {
    if (!known.has(device))
      throw invalidArgument(`network: no interface ${JSON.stringify(device.slice(0, 32))}`);
    return 0;
  };
  for (const route of routes) newRoute(route, indexOf);
  for (const neighbour of neighbours) newNeighbour(neighbour, indexOf);
}

/**
 * Adds what the request lists to the guest's network and removes nothing; idempotent. Rejects with
 * InvalidArgument, NotFound, DeadlineExceeded, FailedPrecondition or Internal. `moduleDirectory`: with the drivers of assigned
 * devices; empty if there is none.
 */
export async function configureNetwork(
  sys: Sys,
  log: Log,
  network: Network,
  moduleDirectory = "",
): Promise<void> {
  checkNetwork(network);
  if (network.interfaces.length + network.routes.length === 0) return; // neighbours need an interface
  await prepareAssigned(sys, network.interfaces, new ModuleLibrary(sys, moduleDirectory, log));
  await awaitLinks(sys, network.interfaces.map(macOf), APPEAR_TIMEOUT_MS);
  const socket = new RouteSocket(sys);
  try {
    nameLinks(sys, socket, network.interfaces);
    const links = listLinks(sys);
    const indexOf = (device: string) => {
      const link = links.find(({ name }) => name === device);
      if (!link) throw notFound(`network: interface ${device} is gone`);
      return link.index;
    };
    for (const one of network.interfaces) setUp(sys, socket, one, indexOf(one.name));
    for (const route of network.routes) {
      // Append: two routes of the host may differ only in the interface. EEXIST means that the route is there
      // already.
      const flags = NLM_F_CREATE | NLM_F_APPEND;
      socket.request(`route ${route.destination}`, RTM_NEWROUTE, newRoute(route, indexOf), flags, [EEXIST]);
    }
    for (const neighbour of network.neighbours) {
      const flags = NLM_F_CREATE | NLM_F_REPLACE;
      socket.request(`neighbour ${neighbour.address}`, RTM_NEWNEIGH, newNeighbour(neighbour, indexOf), flags);
    }
  } finally {
    socket.close();
  }
}

/** Renames the interfaces; one that has the name of another gets a temporary name first. */
function nameLinks(sys: Sys, socket: RouteSocket, interfaces: readonly NetworkInterface[]): void {
  const links = listLinks(sys);
  const rename = (from: string, index: number, to: string) => {
    socket.request(`interface ${from}: set down`, RTM_NEWLINK, linkDown(index));
    socket.request(`interface ${from}: rename it to ${to}`, RTM_NEWLINK, renameLink(index, to));
  };
  const wrong = interfaces.flatMap((wanted) => {
    const link = links.find(({ mac }) => mac === macOf(wanted));
    return link && link.name !== wanted.name ? [{ link, name: wanted.name }] : [];
  });
  const conflicting = links.filter((link) => wrong.some(({ name }) => name === link.name));
  for (const { name, index } of conflicting) rename(name, index, `hull${index}`);
  for (const { link, name } of wrong) rename(link.name, link.index, name);
}

function setUp(sys: Sys, socket: RouteSocket, wanted: NetworkInterface, index: number): void {
  const { name, mtu } = wanted;
  const addresses = wanted.addresses.map((address) => parseCidr(`interface ${name}`, address));
  // The host has done duplicate address detection. An interface without IPv6 there gets none here.
  setV6(sys, name, "disable_ipv6", addresses.some(({ family }) => family === AF_INET6) ? "0" : "1");
  setV6(sys, name, "accept_dad", "0");
  socket.request(`interface ${name}: set up with MTU ${mtu}`, RTM_NEWLINK, linkUpWithMtu(index, mtu));
  for (const [at, address] of addresses.entries()) {
    const flags = NLM_F_CREATE | NLM_F_REPLACE;
    socket.request(
      `interface ${name}: address ${wanted.addresses[at]}`,
      RTM_NEWADDR,
      newAddress(index, address),
      flags,
    );
  }
}

function setV6(sys: Sys, name: string, key: string, value: string): void {
  allowing(["ENOENT"], () => sys.writeFile(`/proc/sys/net/ipv6/conf/${name}/${key}`, value, sys.O_WRONLY));
}

function macOf({ mac }: { mac: string }): string {
  return mac.toLowerCase();
}
