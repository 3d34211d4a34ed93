import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, invalidArgument } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import type { DeviceNumbers } from "../host/device-nodes.ts";
import { networkSettings } from "./guest-network.ts";
import { runBatches } from "./in-netns.ts";
import type { IpLink } from "./ip-json.ts";
import { makeMacvtaps } from "./macvtap.ts";
import { EMPTY_NETWORK, type NetworkModel, type NetworkSettings } from "./network-settings.ts";
import { createNetns } from "./own-netns.ts";
import { releaseNetwork } from "./release.ts";
import { scanNetns } from "./scan.ts";
import { addTaps, mirror, type TapPair } from "./tcfilter.ts";

export interface PodNetworkOptions {
  /** `<namespace>/<pod>`; the taps' names are made from it. */
  readonly pod: string;
  /** Path of the namespace that CNI prepared; undefined = make one at `ownPath`. */
  readonly netns: string | undefined;
  readonly ownPath: string;
  readonly model: NetworkModel;
  /** The number of the user that the VMM runs as; root without one. */
  readonly owner?: number | undefined;
  readonly ledger: Ledger;
}

/** A network device for the VM. */
export interface Nic {
  readonly tap: string;
  readonly mac: string;
  /** Bytes. */
  readonly mtu: number;
  /** The character device that a macvtap is opened by; other taps are opened by name. */
  readonly device?: DeviceNumbers | undefined;
}

/** What batches of ip and tc take without quoting; every name that CNI gives is such a one. */
const INTERFACE_NAME = /^[A-Za-z0-9_.:-]{1,15}$/;

/** A pod's network on the host: its namespace, and a tap for each interface in it. */
export class PodNetwork {
  #settings: NetworkSettings = EMPTY_NETWORK;
  /** By the interface's name. */
  readonly #taps = new Map<string, Nic>();
  readonly #recorded: { resource: Extract<Resource, { kind: "tap" | "qdisc" }>; entry: LedgerEntry }[] = [];
  #releaseOwn: ((deadline: Deadline) => Promise<void>) | undefined;
  #next = 0;

  private constructor(
    readonly options: PodNetworkOptions,
    /** Path of the namespace. */
    readonly netns: string,
  ) {}

  /** Finds or makes the namespace and connects what is in it. On failure nothing of it is left. */
  static async open(options: PodNetworkOptions, deadline: Deadline): Promise<PodNetwork> {
    if (options.netns !== undefined) await refuseHostNetns(options.netns);
    const network = new PodNetwork(options, options.netns ?? options.ownPath);
    try {
      if (options.netns === undefined) {
        // Nothing but loopback can be in it yet.
        network.#releaseOwn = await createNetns(options.ownPath, options.ledger, deadline);
      } else await network.update(deadline);
      return network;
    } catch (error) {
      throw await undo(error, (by) => network.release(by));
    }
  }

  get settings(): NetworkSettings {
    return this.#settings;
  }

  get nics(): Nic[] {
    return [...this.#taps.values()];
  }

  /** Reads the namespace again and makes taps for interfaces that are new in it; the result has those taps only. */
  async update(deadline: Deadline): Promise<Nic[]> {
    const { model } = this.options;
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
    const settings = networkSettings(answers, ours);
    const fresh = settings.interfaces.filter(({ name }) => !this.#taps.has(name));
    if (model === "macvtap") for (const { name } of fresh) this.#requireMacvtap(name, answers.links);
    const pairs = fresh.map(({ name, mac, mtu }) => {
      if (!INTERFACE_NAME.test(name)) {
        throw invalidArgument(
          `network namespace ${this.netns}: interface ${JSON.stringify(name)}: such a name cannot be passed on; rename it`,
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

  /** On top of a macvlan the kernel puts the device beneath it, which belongs to the host. */
  #requireMacvtap(name: string, links: readonly IpLink[]): void {
    const kind = links.find(({ ifname }) => ifname === name)?.linkinfo?.info_kind;
    if (kind === "macvlan" || kind === "macvtap") {
      throw failedPrecondition(
        `network namespace ${this.netns}: ${name} is a ${kind}, over which the kernel cannot create a macvtap; set runtime.internetworking_model: tcfilter for this pod`,
      );
    }
  }

  /** Makes the taps; of macvtaps the result has the devices. */
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

  /** Takes everything out of the namespace again, and the namespace away if it is the pod's own. Idempotent. */
  async release(deadline: Deadline): Promise<void> {
    const recorded = [...this.#recorded];
    // With an own namespace all that is in it goes, too.
    if (this.#releaseOwn) await this.#releaseOwn(deadline);
    else if (recorded.length > 0)
      await releaseNetwork(
        recorded.map(({ resource }) => resource),
        deadline,
      );
    await Promise.all(recorded.map(({ entry }) => entry.forget()));
    // Not before: what could not be released is tried again by the next call.
    this.#recorded.splice(0, recorded.length);
    this.#releaseOwn = undefined;
  }
}

/** What is done to a pod's interfaces must never be done to the host's. */
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

/** `hull-<6 hex digits of the pod's name>-<n>`: at most 15 bytes, and no other pod's. */
const TAP = /^hull-[0-9a-f]{6}-\d+$/;

export function tapPrefix(pod: string): string {
  return `hull-${createHash("sha256").update(pod).digest("hex").slice(0, 6)}-`;
}
