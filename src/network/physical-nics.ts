import { readlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, ignoring } from "../core/errors.ts";
import type { Ledger, LedgerEntry } from "../core/ledger.ts";
import { isPciAddress } from "../host/pci-device.ts";
import { joinNetworks, networkOf, networkWithout } from "./guest-network.ts";
import type { IpLink } from "./ip-json.ts";
import { EMPTY_NETWORK, type NetworkInterface, type NetworkSettings } from "./network-settings.ts";
import { giveBack, type TakenNic, take } from "./take-nic.ts";

/** A PCI network adapter, or a virtual function of one, that CNI has moved into the pod's namespace. */
interface PhysicalNic {
  readonly address: string;
  /** Its interface, as it was in the namespace, with what leads over it. */
  readonly settings: NetworkSettings;
  readonly alias: string;
}

interface Taken extends PhysicalNic {
  readonly resource: TakenNic;
  readonly entry: LedgerEntry;
  pciPath?: string;
}

/**
 * The physical interfaces of a pod's namespace. They are assigned to the VM, not connected to it: each is taken from the
 * host's driver, with which the interface vanishes from the namespace, and is given back when the VM has ended.
 */
export class PhysicalNics {
  #pending: PhysicalNic[] = [];
  readonly #taken: Taken[] = [];

  constructor(
    readonly netns: string,
    readonly ledger: Ledger,
  ) {}

  /** Whether there are interfaces that the VM does not have yet. */
  get pending(): boolean {
    return this.#pending.length > 0;
  }

  /**
   * Finds the physical interfaces in the contents of the namespace. Returns the network without them. Throws
   * FailedPrecondition if another interface is on top of one, which would vanish with it.
   */
  async find(all: NetworkSettings, links: readonly IpLink[]): Promise<NetworkSettings> {
    const found: PhysicalNic[] = [];
    for (const { name } of all.interfaces) {
      const link = links.find(({ ifname }) => ifname === name);
      const address = link && (await pciAddress(link));
      if (address === undefined) continue;
      const upper = links.find((one) => one.link === name);
      if (upper) {
        throw failedPrecondition(
          `network namespace ${this.netns}: ${upper.ifname} is on top of ${name}, a physical interface to be assigned to ` +
            `the VM; create VLANs in the pod, or set runtime.physical_nics: tap`,
        );
      }
      found.push({ address, settings: networkOf(all, name), alias: link?.ifalias ?? "" });
    }
    this.#pending = found;
    return networkWithout(all, found.map(nameOf));
  }

  /**
   * Takes the pending ones from their drivers and gives them to vfio-pci. Returns their PCI addresses. What has been taken
   * when it throws is released like the others.
   */
  async take(deadline: Deadline): Promise<string[]> {
    const addresses: string[] = [];
    for (const nic of this.#pending.splice(0)) {
      const resource = recordOf(this.netns, nic);
      const entry = await this.ledger.record(resource);
      this.#taken.push({ ...nic, resource, entry });
      await take(resource, deadline);
      addresses.push(nic.address);
    }
    return addresses;
  }

  /** Whether there is something to give back. */
  get taken(): boolean {
    return this.#taken.length > 0;
  }

  /** Remembers where the guest finds a device. */
  plugged(address: string, pciPath: string): void {
    const taken = this.#taken.find((one) => one.address === address);
    if (taken) taken.pciPath = pciPath;
  }

  /** The network of the interfaces that the VM has. */
  get settings(): NetworkSettings {
    return this.#taken.reduce((sum, { settings, pciPath }) => {
      if (pciPath === undefined) return sum;
      const interfaces = settings.interfaces.map((one): NetworkInterface => ({ ...one, pciPath }));
      return joinNetworks(sum, { ...settings, interfaces });
    }, EMPTY_NETWORK);
  }

  /** Gives all devices back, once the VMM has closed them. Can be repeated after a failure. */
  async release(deadline: Deadline): Promise<void> {
    for (const taken of [...this.#taken].reverse()) {
      await giveBack(taken.resource, deadline);
      await taken.entry.forget();
      this.#taken.splice(this.#taken.indexOf(taken), 1);
    }
  }
}

const nameOf = ({ settings }: PhysicalNic) => settings.interfaces[0]?.name ?? "";

function recordOf(netns: string, nic: PhysicalNic): TakenNic {
  const { mac = "", mtu = 0 } = nic.settings.interfaces[0] ?? {};
  const { address, alias } = nic;
  return { kind: "nic", netns, name: nameOf(nic), address, mac, mtu, alias };
}

/** Returns the address of the PCI device behind an interface, if it is one's: also of a virtio adapter's. */
async function pciAddress({ parentbus, parentdev = "" }: IpLink): Promise<string | undefined> {
  if (parentbus === "pci") return isPciAddress(parentdev) ? parentdev : undefined;
  if (parentbus !== "virtio" || !/^virtio\d+$/.test(parentdev)) return undefined;
  const device = await readlink(`/sys/bus/virtio/devices/${parentdev}`).catch(ignoring("ENOENT"));
  const parent = device === undefined ? "" : basename(dirname(device));
  return isPciAddress(parent) ? parent : undefined;
}
