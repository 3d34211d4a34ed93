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

/** How long taking the taps away may take. */
const RELEASE_LIMIT_MS = 2_000;

/** A pod's network between its namespace on the host and its VM. */
export class SandboxNetwork {
  readonly #queue = new SerialQueue();
  #seen = "";
  #nodes: DeviceNodes | undefined;

  private constructor(
    readonly network: PodNetwork,
    readonly vhost: boolean,
  ) {}

  /** `vhost`: move packets in the host's kernel where it can. */
  static async open(options: PodNetworkOptions, vhost: boolean, deadline: Deadline): Promise<SandboxNetwork> {
    return new SandboxNetwork(
      await PodNetwork.open(options, deadline),
      vhost && existsSync("/dev/vhost-net"),
    );
  }

  get netns(): string {
    return this.network.netns;
  }

  get settings(): NetworkSettings {
    return this.network.settings;
  }

  /** The VM's network devices so far. `nodes` gets the devices of macvtaps. */
  async nics(nodes: DeviceNodes | undefined, deadline: Deadline): Promise<NicDevice[]> {
    this.#nodes = nodes;
    return await Promise.all(this.network.nics.map((nic) => this.#device(nic, deadline)));
  }

  /** Plugs in interfaces that are new in the namespace and tells the guest of all changes; cheap without any. */
  refresh(vm: Vm, agent: GuestAgent, deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      if (this.network.options.model === "none") return;
      // The VMM lives in the namespace: /proc shows what it sees.
      const seen = await this.#look(vm);
      if (seen === this.#seen) return;
      for (const nic of await this.network.update(deadline)) {
        await vm.plug(await this.#device(nic, deadline), deadline);
      }
      await agent.updateNetwork(this.settings, deadline);
      this.#seen = seen;
    });
  }

  /** Remembers the namespace as it is now: later states are compared with it. */
  async remember(vm: Vm): Promise<void> {
    this.#seen = await this.#look(vm);
  }

  async #look(vm: Vm): Promise<string> {
    return await networkFingerprint(vm.pid, tapPrefix(this.network.options.pod)).catch((error: unknown) => {
      // Of a VMM that has ended in this moment nothing can be read: that is nothing of the caller's.
      throw HullError.wrap(`network of the VM (process ${vm.pid})`, error, "Unavailable");
    });
  }

  async #device({ device, ...nic }: Nic, deadline: Deadline): Promise<NicDevice> {
    const named: NicDevice = { kind: "nic", ...nic, vhost: this.vhost };
    if (!device) return named;
    if (!this.#nodes) throw internal(`${nic.tap}: no directory for its device node`);
    return { ...named, device: await this.#nodes.make(nic.tap, device, deadline) };
  }

  async release(): Promise<void> {
    await Deadline.within(RELEASE_LIMIT_MS, "tear down the pod's network", (limit) =>
      this.network.release(limit),
    );
  }
}
