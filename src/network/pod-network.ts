import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, invalidArgument } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import type { DeviceNumbers } from "../host/device-nodes.ts";
import { joinNetworks, networkSettings } from "./guest-network.ts";
import { runBatches } from "./in-netns.ts";
import type { IpLink } from "./ip-json.ts";
import { makeMacvtaps } from "./macvtap.ts";
import { EMPTY_NETWORK, type NetworkModel, type NetworkSettings } from "./network-settings.ts";
import { createNetns } from "./own-netns.ts";
import { PhysicalNics } from "./physical-nics.ts";
import { releaseNetwork } from "./release.ts";
import { scanNetns } from "./scan.ts";
import { addTaps, mirror, type TapPair } from "./tcfilter.ts";

/** What the network of a pod is made from. */
export interface PodNetworkOptions {
  /** `<namespace>/<pod>`; the names of the taps are derived from it. */
  readonly pod: string;
  /** Path of the namespace that CNI prepared; undefined to create one at `ownPath`. */
  readonly netns: string | undefined;
  readonly ownPath: string;
  readonly model: NetworkModel;
  /** Whether physical interfaces are assigned to the VM (`physical`) instead of connected by taps. */
  readonly assignPhysical?: boolean;
  /** The uid of the VMM's user; undefined for root. */
  readonly owner?: number | undefined;
  readonly ledger: Ledger;
}

/** A network interface for the VM. */
export interface Nic {
  readonly tap: string;
  readonly mac: string;
  /** In bytes. */
  readonly mtu: number;
  /** The character device of a macvtap; other taps are opened by name. */
  readonly device?: DeviceNumbers | undefined;
}

/** Names that batches of ip and tc take without quoting. CNI gives no others. */
const INTERFACE_NAME = /^[A-Za-z0-9_.:-]{1,15}$/;

/** A pod's network on the host: its namespace, with a tap for each interface. */
export class PodNetwork {
  /** The physical interfaces of the namespace. */
  readonly physical: PhysicalNics;
  #settings: NetworkSettings = EMPTY_NETWORK;
  /** By interface name. */
  readonly #taps = new Map<string, Nic>();
  readonly #recorded: { resource: Extract<Resource, { kind: "tap" | "qdisc" }>; entry: LedgerEntry }[] = [];
  #releaseOwn: ((deadline: Deadline) => Promise<void>) | undefined;
  #next = 0;

  private constructor(
    readonly options: PodNetworkOptions,
    /** The path of the namespace. */
    readonly netns: string,
  ) {
    this.physical = new PhysicalNics(netns, options.ledger);
  }

  /** Opens or creates the namespace and connects its interfaces. On failure it leaves nothing. */
  static async open(options: PodNetworkOptions, deadline: Deadline): Promise<PodNetwork> {
    if (options.netns !== undefined) await refuseHostNetns(options.netns);
    const network = new PodNetwork(options, options.netns ?? options.ownPath);
    try {
      if (options.netns === undefined) {
        // It can contain nothing but loopback yet.
        network.#releaseOwn = await createNetns(options.ownPath, options.ledger, deadline);
      } else await network.update(deadline);
      return network;
    } catch (error) {
      throw await undo(error, (by) => network.release(by));
    }
  }

  get settings(): NetworkSettings {
    return joinNetworks(this.#settings, this.physical.settings);
  }

  get nics(): Nic[] {
    return [...this.#taps.values()];
  }

  /**
   * Reads the namespace again and creates taps for new interfaces. Returns only the new taps. New physical interfaces are
   * `physical.pending`.
   */
  async update(deadline: Deadline): Promise<Nic[]> {
    const { model, assignPhysical } = this.options;
    if (model === "none") return [];
    const answers = await scanNetns(this.netns, deadline);
    const prefix = tapPrefix(this.options.pod);
    const foreign = answers.links.find(({ ifname }) => TAP.test(ifname) && !ifname.startsWith(prefix));
    if (foreign) {
      throw failedPrecondition(
        `network namespace ${this.netns}: another VM already uses it (${foreign.ifname}); give each pod its own namespace`,
      );
    }
    const ours = new Set([...this.#taps.values()].map(({ tap }) => tap));
    const all = networkSettings(answers, ours);
    const settings = assignPhysical ? await this.physical.find(all, answers.links) : all;
    const fresh = settings.interfaces.filter(({ name }) => !this.#taps.has(name));
    if (model === "macvtap") for (const { name } of fresh) this.#requireMacvtap(name, answers.links);
    const pairs = fresh.map(({ name, mac, mtu }) => {
      if (!INTERFACE_NAME.test(name)) {
        throw invalidArgument(
          `network namespace ${this.netns}: interface ${JSON.stringify(name)}: the guest cannot use this name; rename the interface`,
        );
      }
      return { interface: name, tap: `${prefix}${this.#next++}`, mac, mtu };
    });
    const devices = pairs.length > 0 ? await this.#connect(pairs, deadline) : [];
    const nics = pairs.map(({ tap, mac, mtu }, index) => ({ tap, mac, mtu, device: devices[index] }));
    for (const [index, nic] of nics.entries()) this.#taps.set(pairs[index]?.interface ?? "", nic);
    this.#settings = settings;
    return nics;
  }

  /** Refuses a macvlan: the kernel would put the macvtap on its lower device, which belongs to the host. */
  #requireMacvtap(name: string, links: readonly IpLink[]): void {
    const kind = links.find(({ ifname }) => ifname === name)?.linkinfo?.info_kind;
    if (kind === "macvlan" || kind === "macvtap") {
      throw failedPrecondition(
        `network namespace ${this.netns}: ${name} is a ${kind}, over which the kernel cannot create a macvtap; set runtime.internetworking_model: tcfilter for this pod`,
      );
    }
  }

  /** Creates the taps. Returns the character devices of macvtaps. */
  async #connect(pairs: readonly TapPair[], deadline: Deadline): Promise<DeviceNumbers[]> {
    const { netns } = this;
    const { model, owner } = this.options;
    await Promise.all(
      pairs
        .flatMap(({ tap, interface: device }) => [
          { kind: "tap", netns, name: tap } as const,
          ...(model === "tcfilter" ? [{ kind: "qdisc", netns, device } as const] : []),
        ])
        .map(async (resource) => {
          this.#recorded.push({ resource, entry: await this.options.ledger.record(resource) });
        }),
    );
    try {
      if (model === "macvtap") return await makeMacvtaps(netns, pairs, deadline);
      await runBatches(netns, { ip: addTaps(pairs, owner), tc: mirror(pairs) }, deadline);
      return [];
    } catch (error) {
      const names = pairs.map((pair) => pair.interface).join(", ");
      throw HullError.wrap(`network namespace ${netns}: connect ${names} to the VM`, error);
    }
  }

  /** Removes everything from the namespace, and the namespace itself if hull created it. Idempotent. */
  async release(deadline: Deadline): Promise<void> {
    try {
      // Before the namespace goes, with which the kernel would move them to the host's.
      await this.physical.release(deadline);
    } finally {
      await this.#releaseTaps(deadline);
    }
  }

  async #releaseTaps(deadline: Deadline): Promise<void> {
    const recorded = [...this.#recorded];
    // Removing the pod's own namespace removes everything in it.
    if (this.#releaseOwn) await this.#releaseOwn(deadline);
    else if (recorded.length > 0)
      await releaseNetwork(
        recorded.map(({ resource }) => resource),
        deadline,
      );
    await Promise.all(recorded.map(({ entry }) => entry.forget()));
    // Only now: the next call must retry what could not be released.
    this.#recorded.splice(0, recorded.length);
    this.#releaseOwn = undefined;
  }
}

/** Throws InvalidArgument if the namespace is the host's, whose interfaces hull must never change. */
async function refuseHostNetns(path: string): Promise<void> {
  const [given, host] = await Promise.all(
    [path, "/proc/self/ns/net"].map((one) =>
      stat(one).catch((error) => {
        throw HullError.ofCallersPath(`network namespace ${one}`, error);
      }),
    ),
  );
  if (given?.ino === host?.ino && given?.dev === host?.dev) {
    throw invalidArgument(
      `network namespace ${path} is the host's: a VM cannot share it; give the pod its own namespace`,
    );
  }
}

/** `hull-<6 hex digits of a hash of the pod>-<n>`: at most 15 bytes, and different for each pod. */
const TAP = /^hull-[0-9a-f]{6}-\d+$/;

/** Returns the prefix of the names of a pod's taps. */
export function tapPrefix(pod: string): string {
  return `hull-${createHash("sha256").update(pod).digest("hex").slice(0, 6)}-`;
}
