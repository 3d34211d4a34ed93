import { existsSync } from "node:fs";
import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError, internal } from "../core/errors.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import type { DeviceNodes } from "../host/device-nodes.ts";
import type { NicDevice, Vm } from "../hypervisor/hypervisor.ts";
import { networkFingerprint } from "../network/fingerprint.ts";
import type { NetworkSettings } from "../network/network-settings.ts";
import { type Nic, PodNetwork, type PodNetworkOptions, tapPrefix } from "../network/pod-network.ts";

/** Timeout for removing the taps. */
const RELEASE_LIMIT_MS = 2_000;

/** Connects a pod's network namespace on the host to its VM. */
export class SandboxNetwork {
  readonly #queue = new SerialQueue();
  #seen = "";
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
    return this.network.settings;
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
  refresh(vm: Vm, agent: GuestAgent, deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      if (this.network.options.model === "none") return;
      // The VMM runs in the namespace, so its /proc files show it.
      const seen = await this.#look(vm);
      if (seen === this.#seen) return;
      for (const nic of await this.network.update(deadline)) {
        await vm.plug(await this.#device(nic, deadline), deadline);
      }
      await agent.updateNetwork(this.settings, deadline);
      this.#seen = seen;
    });
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

  /** Removes the taps. */
  async release(): Promise<void> {
    await Deadline.within(RELEASE_LIMIT_MS, "tear down the pod's network", (limit) =>
      this.network.release(limit),
    );
  }
}
