import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError, internal } from "../core/errors.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import type { DeviceNodes } from "../host/device-nodes.ts";
import type { NicDevice, Vm } from "../hypervisor/hypervisor.ts";
import { networkFingerprint } from "../network/fingerprint.ts";
import type { NetworkSettings } from "../network/network-settings.ts";
import { type Nic, PodNetwork, type PodNetworkOptions, tapPrefix } from "../network/pod-network.ts";
import { groupOf } from "../network/take-nic.ts";
import type { WantedGroup } from "../oci/guest-devices.ts";
import type { AssignedGroup } from "./sandbox.ts";

/** Timeout for removing the taps. */
const RELEASE_LIMIT_MS = 2_000;
/** Timeout for giving physical interfaces back: their devices are reset, and drivers load firmware. */
export const GIVE_BACK_MS = 20_000;

/** How physical interfaces get into the VM and its guest. */
export interface NicAssignment {
  /** Assigns an IOMMU group until the VM ends. */
  assign(group: WantedGroup): Promise<Pick<AssignedGroup, "addresses" | "pciPaths">>;
  /** Returns the guest's directory of drivers, if there is one. */
  modules(): Promise<string | undefined>;
}

/** Connects a pod's network namespace on the host to its VM. */
export class SandboxNetwork {
  readonly #queue = new SerialQueue();
  #seen = "";
  #modules: string | undefined;
  #nodes: DeviceNodes | undefined;

  private constructor(
    readonly network: PodNetwork,
    readonly vhost: boolean,
  ) {}

  /** Opens the pod's network. `vhost`: use the kernel's vhost-net if the host has it. */
  static async open(options: PodNetworkOptions, vhost: boolean, deadline: Deadline): Promise<SandboxNetwork> {
    return new SandboxNetwork(
      await PodNetwork.open(options, deadline),
      vhost && existsSync("/dev/vhost-net"),
    );
  }

  /** The path of the network namespace. */
  get netns(): string {
    return this.network.netns;
  }

  /** The settings for the guest: interfaces, addresses, routes. */
  get settings(): NetworkSettings {
    return { ...this.network.settings, moduleDirectory: this.#modules };
  }

  /** Whether there are physical interfaces that `refresh` is to assign to the VM. */
  get pending(): boolean {
    return this.network.physical.pending;
  }

  /** Returns the VM's current network devices. Creates device nodes of macvtaps in `nodes`. */
  async nics(nodes: DeviceNodes | undefined, deadline: Deadline): Promise<NicDevice[]> {
    this.#nodes = nodes;
    return await Promise.all(this.network.nics.map((nic) => this.#device(nic, deadline)));
  }

  /**
   * Hot-plugs new interfaces of the namespace and sends all changes to the guest. Cheap if nothing has
   * changed.
   */
  refresh(vm: Vm, agent: GuestAgent, nics: NicAssignment, deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      if (this.network.options.model === "none") return;
      // The VMM runs in the namespace, so its /proc files show it.
      const seen = await this.#look(vm);
      if (seen === this.#seen && !this.pending) return;
      for (const nic of await this.network.update(deadline)) {
        await vm.plug(await this.#device(nic, deadline), deadline);
      }
      const assigned = this.pending;
      if (assigned) await this.#assign(nics, deadline);
      await agent.updateNetwork(this.settings, deadline);
      // Their interfaces have left the namespace.
      this.#seen = assigned ? await this.#look(vm) : seen;
    });
  }

  /** Takes the physical interfaces from the host and assigns their devices to the VM, those of a group together. */
  async #assign(nics: NicAssignment, deadline: Deadline): Promise<void> {
    const { physical } = this.network;
    this.#modules ??= await nics.modules();
    const groups = new Set<number>();
    for (const address of await physical.take(deadline)) groups.add((await groupOf(address)) ?? -1);
    for (const number of groups) {
      const { addresses, pciPaths } = await nics.assign(await groupNode(number));
      for (const [index, address] of addresses.entries()) physical.plugged(address, pciPaths[index] ?? "");
    }
  }

  /** Remembers the namespace's current state, for `refresh` to compare with. */
  async remember(vm: Vm): Promise<void> {
    this.#seen = await this.#look(vm);
  }

  async #look(vm: Vm): Promise<string> {
    return await networkFingerprint(vm.pid, tapPrefix(this.network.options.pod)).catch((error: unknown) => {
      // The VMM may just have exited, which must not become NotFound for the caller.
      throw HullError.wrap(`network of the VM (process ${vm.pid})`, error, "Unavailable");
    });
  }

  async #device({ device, ...nic }: Nic, deadline: Deadline): Promise<NicDevice> {
    const named: NicDevice = { kind: "nic", ...nic, vhost: this.vhost };
    if (!device) return named;
    if (!this.#nodes) throw internal(`${nic.tap}: no directory for its device node`);
    return { ...named, device: await this.#nodes.make(nic.tap, device, deadline) };
  }

  /** Gives physical interfaces back, once the VM has ended, and removes the taps. */
  async release(): Promise<void> {
    const limit = this.network.physical.taken ? GIVE_BACK_MS : RELEASE_LIMIT_MS;
    await Deadline.within(limit, "tear down the pod's network", (by) => this.network.release(by));
  }
}

/** Returns the device node that the kernel has for an IOMMU group whose devices are bound to vfio-pci. */
async function groupNode(number: number): Promise<WantedGroup> {
  const path = `/dev/vfio/${number}`;
  const { rdev } = await stat(path).catch((error: unknown) => {
    throw HullError.wrap(`device ${path}`, error, "FailedPrecondition");
  });
  return { path, major: Math.floor(rdev / 256) & 0xfff, minor: rdev & 0xff };
}
