import { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, HullError, internal, invalidArgument, unavailable } from "../../core/errors.ts";
import { SerialQueue } from "../../core/serial-queue.ts";
import { StateMachine } from "../../core/state-machine.ts";
import type { PathAccess } from "../../host/path-access.ts";
import { accessibleDevice } from "../accessible-spec.ts";
import type { HotplugDevice, Plugged, Vm, VmExit, VmStatus } from "../hypervisor.ts";
import { type ApiClient, Refusal } from "./api-client.ts";
import type { PciDeviceInfo, VmInfo } from "./api-types.ts";
import { diskConfig, fsConfig, netConfig, pciConfig } from "./vm-config.ts";
import type { Vmm } from "./vmm.ts";

/** How long to wait after a lost connection for the exit of the VMM, which would explain it. */
const EXPLAIN_MS = 1_000;

/** A VM that runs in Cloud Hypervisor. */
export class CloudHypervisorVm implements Vm {
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  /** How long the guest may take to release a device, in milliseconds. */
  ejectMs = 10_000;
  /** Serializes calls that change the VM, so that its state is known. The VMM serves one call at a time anyway. */
  readonly #queue = new SerialQueue();
  readonly #state: StateMachine<"running" | "paused" | "ended">;
  /** A pause or resume got no answer: query the state before the next one. */
  #doubtful = false;

  constructor(
    readonly name: string,
    readonly vmm: Vmm,
    readonly client: ApiClient,
    /** Translates paths of the host for the VMM. */
    readonly access: Pick<PathAccess, "at">,
    state: "running" | "paused",
    readonly log: (message: string, fields?: Record<string, unknown>) => void,
  ) {
    this.pid = vmm.pid;
    this.#state = new StateMachine(
      `VM ${name}`,
      { running: ["paused", "ended"], paused: ["running", "ended"], ended: [] },
      state,
    );
    this.exited = vmm.exited.then((exit) => {
      this.#state.transition("ended");
      return exit;
    });
  }

  console(): string {
    return this.vmm.console();
  }

  /** Checks only that the VMM answers: it never pauses or resumes the guest by itself. */
  async status(deadline: Deadline): Promise<VmStatus> {
    await this.#explained("inspect", () => this.client.ping(deadline));
    return { state: this.#state.is("paused") ? "paused" : "running" };
  }

  /** Pausing a paused VM, or resuming a running one, changes nothing. */
  pause(deadline: Deadline): Promise<void> {
    return this.#change("pause", deadline, async () => {
      if ((await this.#known(deadline)) === "paused") return;
      await this.#move(() => this.client.pause(deadline), "paused");
    });
  }

  resume(deadline: Deadline): Promise<void> {
    return this.#change("resume", deadline, async () => {
      if ((await this.#known(deadline)) === "running") return;
      await this.#move(() => this.client.resume(deadline), "running");
    });
  }

  async plug(device: HotplugDevice, deadline: Deadline): Promise<Plugged> {
    return await this.#change("hot-plug a device into", deadline, async () => {
      const { id, add } = this.#adding(accessibleDevice(device, this.access), deadline);
      let bdf: string;
      try {
        ({ bdf } = await add());
        this.log("device hot-plugged", { id, bdf });
      } catch (error) {
        if (mayHaveTakenEffect(error)) await this.#undoPlug(id);
        throw error;
      }
      let removal: Promise<void> | undefined;
      return {
        unplug: () => {
          removal ??= this.#unplug(id).catch((error: unknown) => {
            removal = undefined; // allows a retry
            throw error;
          });
          return removal;
        },
        pciPath: async () => this.#pciPath(bdf),
      };
    });
  }

  async addVcpu(): Promise<void> {
    throw failedPrecondition(`VM ${this.name}: add a vCPU: it was started with a fixed size`);
  }

  async addMemory(): Promise<void> {
    throw failedPrecondition(`VM ${this.name}: add memory: it was started with a fixed size`);
  }

  snapshot(directory: string, deadline: Deadline): Promise<void> {
    return this.#change("snapshot", deadline, async () => {
      await this.#known(deadline);
      this.#state.require("snapshot", "paused");
      await this.client.snapshot(directory, deadline);
    });
  }

  /** Returns the VMM's description of the VM. */
  info(deadline: Deadline): Promise<VmInfo> {
    return this.#explained("inspect", () => this.client.info(deadline));
  }

  stop(deadline: Deadline): Promise<void> {
    return this.vmm.stop(deadline, () => this.client.shutdownVmm(deadline));
  }

  /** Returns the VM's state, from the VMM if it is in doubt. */
  async #known(deadline: Deadline): Promise<string> {
    if (this.#doubtful) {
      const { state } = await this.client.info(deadline);
      const now = state === "Paused" ? "paused" : "running";
      if (!this.#state.is(now, "ended")) this.#state.transition(now);
      this.#doubtful = false;
    }
    return this.#state.state;
  }

  async #move(call: () => Promise<void>, to: "running" | "paused"): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.#doubtful = mayHaveTakenEffect(error);
      throw error;
    }
    if (!this.#state.is("ended")) this.#state.transition(to);
  }

  #adding(device: HotplugDevice, deadline: Deadline): { id: string; add: () => Promise<PciDeviceInfo> } {
    switch (device.kind) {
      case "share": {
        const config = fsConfig(device);
        return { id: config.id ?? "", add: () => this.client.addFs(config, deadline) };
      }
      case "nic": {
        const config = netConfig(device);
        return { id: config.id ?? "", add: () => this.client.addNet(config, deadline) };
      }
      case "disk": {
        const config = diskConfig(device);
        return { id: config.id ?? "", add: () => this.client.addDisk(config, deadline) };
      }
      case "pci": {
        const config = pciConfig(device);
        return { id: config.id ?? "", add: () => this.client.addDevice(config, deadline) };
      }
      case "vhost-user":
      case "vhost":
        throw invalidArgument(
          `VM ${this.name}: cloud-hypervisor supports its vsock device only from the start`,
        );
    }
  }

  /** All devices are on the root bus of the first segment. */
  #pciPath(bdf: string): string {
    const path = /^0000:00:([0-9a-f]{2}\.[0-7])$/.exec(bdf)?.[1];
    if (path === undefined) throw internal(`VM ${this.name}: cloud-hypervisor reports an unknown address`);
    return path;
  }

  /** Removes a device. Resolves when the guest has released it: `vm.remove-device` is only a request. */
  async #unplug(id: string): Promise<void> {
    if (this.#state.is("ended")) return;
    await Deadline.within(this.ejectMs, `VM ${this.name}: removing device ${id}`, async (deadline) => {
      await this.#change("unplug a device from", deadline, async () => {
        const gone = this.vmm.event(
          ({ event, properties }) => event === "device-removed" && properties.id === id,
          deadline,
        );
        gone.catch(() => undefined); // awaited below; the call may fail first
        await this.client.removeDevice(id, deadline);
        await gone.catch((error: unknown) => this.#checkGone(id, error));
      });
    });
  }

  /** The event may have been dropped, and older releases do not send it. Rethrows if the device tree has the device. */
  async #checkGone(id: string, reason: unknown): Promise<void> {
    await Deadline.within(EXPLAIN_MS, `VM ${this.name}: looking for device ${id}`, async (deadline) => {
      const { device_tree } = await this.client.info(deadline);
      if (device_tree && Object.hasOwn(device_tree, id)) throw reason;
    });
  }

  /** Removes a device whose hot-plug got no answer and may have been carried out. */
  async #undoPlug(id: string): Promise<void> {
    const what = `VM ${this.name}: removing device ${id} again`;
    try {
      await Deadline.within(EXPLAIN_MS, what, (deadline) => this.client.removeDevice(id, deadline));
    } catch (error) {
      if (error instanceof Refusal && error.httpStatus === 404) return; // it was not carried out
      this.log("a device may be left behind", { id, reason: HullError.from(error).message });
    }
  }

  /** Queues a change. It is not started if its deadline ends first. */
  #change<T>(verb: string, deadline: Deadline, change: () => Promise<T>): Promise<T> {
    const turn = this.#queue.run(async () => {
      deadline.check();
      return await this.#explained(verb, change);
    });
    return deadline.race(turn);
  }

  /** Adds the VM's name to errors. One that the VMM's exit caused becomes FailedPrecondition with the exit's reason. */
  async #explained<T>(verb: string, call: () => Promise<T>): Promise<T> {
    try {
      if (this.#state.is("ended")) throw unavailable("the VMM has exited");
      return await call();
    } catch (error) {
      if (HullError.from(error).code !== "Unavailable") throw HullError.wrap(`VM ${this.name}`, error);
      const exit = await this.vmm.exitWithin(EXPLAIN_MS);
      const step = `cannot ${verb} VM ${this.name}`;
      if (!exit) throw HullError.wrap(step, error);
      throw new HullError("FailedPrecondition", `${step}: ${exit.reason}`, { cause: error });
    }
  }
}

/** Returns whether a failed call may have been carried out. */
function mayHaveTakenEffect(error: unknown): boolean {
  return ["Unavailable", "DeadlineExceeded", "Canceled", "ResourceExhausted"].includes(
    HullError.from(error).code,
  );
}
