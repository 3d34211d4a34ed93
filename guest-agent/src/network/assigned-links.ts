import { failedPrecondition } from "../../../src/core/errors.ts";
import type { NetworkInterface } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { awaitPciDevices } from "../devices/await-devices.ts";
import type { ModuleLibrary } from "../devices/module-library.ts";
import { checkPciPath, pciDevice } from "../devices/pci-device.ts";
import type { Sys } from "../sys.ts";
import { parseMac } from "./address.ts";
import { listLinks } from "./links.ts";
import { RouteSocket, RTM_NEWLINK } from "./netlink.ts";
import { linkDown, setLinkAddress } from "./route-messages.ts";

/** A driver may have to load firmware and reset its hardware first. */
const DRIVER_TIMEOUT_MS = 30_000;

/** Throws InvalidArgument unless each interface's place on the PCI bus can be one. */
export function checkAssigned(interfaces: readonly NetworkInterface[]): void {
  for (const { pciPath } of assigned(interfaces)) checkPciPath(pciPath);
}

/**
 * Waits for the interfaces of assigned PCI devices and gives each the MAC address that it had on the host: the reset by which
 * a device changes hands restores its own. Rejects as `awaitPciDevices`, and with Internal if the driver refuses an address.
 */
export async function prepareAssigned(
  sys: Sys,
  interfaces: readonly NetworkInterface[],
  modules: Pick<ModuleLibrary, "load">,
): Promise<void> {
  const wanted = assigned(interfaces);
  const linkOf = (pciPath: string) => pciDevice(sys, pciPath)?.interface;
  const awaited = wanted.map(({ pciPath }) => pciPath).filter((path) => linkOf(path) === undefined);
  await awaitPciDevices(sys, awaited, DRIVER_TIMEOUT_MS, modules);
  for (const { pciPath, name, mac } of wanted) {
    const link = listLinks(sys).find((one) => one.name === linkOf(pciPath));
    if (!link) throw failedPrecondition(`interface ${name}: PCI device ${pciPath}: its interface is gone`);
    if (link.mac !== mac.toLowerCase()) setMac(sys, name, link.index, parseMac(`interface ${name}`, mac));
  }
}

function setMac(sys: Sys, name: string, index: number, mac: Uint8Array): void {
  const socket = new RouteSocket(sys);
  try {
    socket.request(`interface ${name}: set down`, RTM_NEWLINK, linkDown(index));
    socket.request(`interface ${name}: set its MAC address`, RTM_NEWLINK, setLinkAddress(index, mac));
  } finally {
    socket.close();
  }
}

function assigned(interfaces: readonly NetworkInterface[]): NetworkInterface[] {
  return interfaces.filter(({ pciPath }) => pciPath !== "");
}
