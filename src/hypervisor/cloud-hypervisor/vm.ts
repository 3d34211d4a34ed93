import { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, HullError, invalidArgument, unavailable } from "../../core/errors.ts";
import { SerialQueue } from "../../core/serial-queue.ts";
import { StateMachine } from "../../core/state-machine.ts";
import type { PathAccess } from "../../host/path-access.ts";
import { accessibleDevice } from "../accessible-spec.ts";
import type { HotplugDevice, Vm, VmExit, VmStatus } from "../hypervisor.ts";
import { type ApiClient, Refusal } from "./api-client.ts";
import type { PciDeviceInfo, VmInfo } from "./api-types.ts";
import { diskConfig, fsConfig, netConfig } from "./vm-config.ts";
import type { Vmm } from "./vmm.ts";

/** After a lost connection: how long to wait for the process's end, which would explain it. */
const EXPLAIN_MS = 1_000;

/** A guest that Cloud Hypervisor runs. */
export class CloudHypervisorVm implements Vm {
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  /** How long the guest may take to let a device go, in milliseconds. */
  ejectMs = 10_000;
  /** Calls that change the VM, one at a time: the VMM serves them so anyway, and the state is then never a guess. */
  readonly #queue = new SerialQueue();
  readonly #state: StateMachine<"running" | "paused" | "ended">;
  /** A pause or resume got no answer: ask before the next one. */
  #doubtful = false;

  constructor(
    readonly name: string,
    readonly vmm: Vmm,
    readonly client: ApiClient,
    /** How the VMM comes to the files of the host. */
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

  /** The state is the one that we have brought it to: the VMM changes it by itself for no reason. */
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

  async plug(device: HotplugDevice, deadline: Deadline): Promise<() => Promise<void>> {
    return await this.#change("hot-plug a device into", deadline, async () => {
      const { id, add } = this.#adding(accessibleDevice(device, this.access), deadline);
      try {
        const place = await add();
        this.log("device hot-plugged", { id, bdf: place.bdf });
      } catch (error) {
        if (isOpen(error)) await this.#takeBack(id);
        throw error;
      }
      let removal: Promise<void> | undefined;
      return () => {
        removal ??= this.#unplug(id).catch((error: unknown) => {
          removal = undefined; // it may be tried again
          throw error;
        });
        return removal;
      };
    });
  }

  async addVcpu(): Promise<void> {
    throw failedPrecondition(`VM ${this.name}: add a vCPU: it was started with a fixed size`);
  }

  async addMemory(): Promise<void> {
    throw failedPrecondition(`VM ${this.name}: add memory: it was started with a fixed size`);
  }

  /** Saves the paused VM into `directory`, which must exist, for `CloudHypervisor.restore`. */
  snapshot(directory: string, deadline: Deadline): Promise<void> {
    return this.#change("snapshot", deadline, async () => {
      await this.#known(deadline);
      this.#state.require("snapshot", "paused");
      await this.client.snapshot(directory, deadline);
    });
  }

  info(deadline: Deadline): Promise<VmInfo> {
    return this.#explained("inspect", () => this.client.info(deadline));
  }

  stop(deadline: Deadline): Promise<void> {
    return this.vmm.stop(deadline, () => this.client.shutdownVmm(deadline));
  }

  /** The state, asked of the VMM where ours is in doubt. */
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
      this.#doubtful = isOpen(error);
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
      case "vhost-user":
      case "vhost":
        throw invalidArgument(
          `VM ${this.name}: cloud-hypervisor supports its vsock device only from the start`,
        );
    }
  }

  /** The VMM forgets the device only when the guest has let it go: `vm.remove-device` merely asks. */
  async #unplug(id: string): Promise<void> {
    if (this.#state.is("ended")) return; // it went with the VM
    await Deadline.within(this.ejectMs, `VM ${this.name}: removing device ${id}`, async (deadline) => {
      await this.#change("unplug a device from", deadline, async () => {
        const gone = this.vmm.event(
          ({ event, properties }) => event === "device-removed" && properties.id === id,
          deadline,
        );
        gone.catch(() => undefined); // read below, after the call that may fail first
        await this.client.removeDevice(id, deadline);
        await gone.catch((error: unknown) => this.#checkGone(id, error));
      });
    });
  }

  /** No word of the removal (a lost event, an older release): the device tree knows. */
  async #checkGone(id: string, reason: unknown): Promise<void> {
    await Deadline.within(EXPLAIN_MS, `VM ${this.name}: looking for device ${id}`, async (deadline) => {
      const { device_tree } = await this.client.info(deadline);
      if (device_tree && Object.hasOwn(device_tree, id)) throw reason;
    });
  }

  /** A plug whose answer never came may have been done. */
  async #takeBack(id: string): Promise<void> {
    const deadline = Deadline.after(EXPLAIN_MS, `VM ${this.name}: removing device ${id} again`);
    try {
      await this.client.removeDevice(id, deadline);
    } catch (error) {
      if (error instanceof Refusal && error.httpStatus === 404) return; // it was not done
      this.log("a device may be left behind", { id, reason: HullError.from(error).message });
    } finally {
      deadline.dispose();
    }
  }

  /** Runs one change when its turn comes, unless its deadline is over by then. */
  #change<T>(verb: string, deadline: Deadline, change: () => Promise<T>): Promise<T> {
    const turn = this.#queue.run(async () => {
      deadline.check();
      return await this.#explained(verb, change);
    });
    return deadline.race(turn);
  }

  /** A failure told with the VM's name; one that comes from the VMM's end becomes FailedPrecondition and says so. */
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

/** Whether the failure leaves open if the call was carried out. */
function isOpen(error: unknown): boolean {
  return ["Unavailable", "DeadlineExceeded", "Canceled", "ResourceExhausted"].includes(
    HullError.from(error).code,
  );
}
