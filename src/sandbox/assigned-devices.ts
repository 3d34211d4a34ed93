import { allSettled } from "../core/all-settled.ts";
import { Deadline } from "../core/deadline.ts";
import type { Disposer } from "../core/disposer.ts";
import { HullError } from "../core/errors.ts";
import type { Ledger, LedgerEntry } from "../core/ledger.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import { undo } from "../core/undo.ts";
import { type DeviceNodes, withNodeMounted } from "../host/device-nodes.ts";
import { type IommuGroup, iommuGroup, requireFree } from "../host/iommu-group.ts";
import { run } from "../host/run.ts";
import type { Plugged, Vm } from "../hypervisor/hypervisor.ts";
import type { WantedGroup } from "../oci/guest-devices.ts";
import type { AssignedGroup } from "./sandbox.ts";

/** What the VMM may lock besides the guest's memory: firmware, option ROMs. */
const LOCK_SLACK_MIB = 128;
/** Timeout for opening a group: the kernel makes openers wait while it resets a device, which can take a minute. */
const OPEN_MS = 2_000;

/** What assigning devices needs. */
interface AssignContext {
  /** The VMM's device nodes, if it may not open the host's; then its limit of locked memory is raised, too. */
  readonly nodes: Pick<DeviceNodes, "make" | "remove"> | undefined;
  /** How much memory the VM can have. */
  readonly maxMemoryMib: number;
  readonly ledger: Ledger;
  /** Receives the release of what the VMM keeps open, to run when the VMM and its forks are gone. */
  readonly kept: Disposer;
  log(message: string, fields?: Record<string, unknown>): void;
  warn(message: string): void;
}

/** How groups are looked up on the host; replaced in tests. */
const HOST = { iommuGroup, requireFree, withNodeMounted, run };

/** The PCI devices of the host that are assigned to a pod's VM for its containers. */
export class AssignedDevices {
  #vmEnded = false;
  /** One at a time: a second request for a group must not find its node, or remove it. */
  readonly #assignments = new SerialQueue();

  constructor(
    readonly vm: Pick<Vm, "pid" | "plug" | "exited">,
    readonly context: AssignContext,
    private readonly host: typeof HOST = HOST,
  ) {
    void vm.exited.then(() => {
      this.#vmEnded = true;
    });
  }

  /** Assigns a group. Throws as `Sandbox.assignGroup`. */
  assign(wanted: WantedGroup, deadline: Deadline): Promise<AssignedGroup> {
    return this.#assignments.run(() => this.#assign(wanted, deadline));
  }

  async #assign(wanted: WantedGroup, deadline: Deadline): Promise<AssignedGroup> {
    deadline.check();
    const group = await this.host.iommuGroup(wanted);
    await deadline.race(this.host.requireFree(group));
    const devices = group.devices.map(({ address }) => address);
    const entry = await this.context.ledger.record({ kind: "vfio", path: group.node, devices });
    const plugged: Plugged[] = [];
    const release = () => this.#release(group, plugged, entry);
    try {
      await this.#raiseLockLimit(deadline);
      await this.#withNode(group, wanted, deadline, async () => {
        for (const { address, windows } of group.devices)
          plugged.push(await this.vm.plug({ kind: "pci", address, windows }, deadline));
      });
      const pciPaths: string[] = [];
      for (const one of plugged) pciPaths.push(await one.pciPath(deadline));
      this.context.log("assigned a group of PCI devices", { group: group.number, devices, pciPaths });
      return { addresses: devices, pciPaths, unplug: release };
    } catch (thrown) {
      throw HullError.wrap(`device ${wanted.path}`, await undo(thrown, release));
    }
  }

  /** All of the guest's memory is locked, which the kernel charges to the VMM unless it has CAP_IPC_LOCK. */
  async #raiseLockLimit(deadline: Deadline): Promise<void> {
    const { nodes, maxMemoryMib } = this.context;
    if (!nodes) return;
    const bytes = (maxMemoryMib + LOCK_SLACK_MIB) * 2 ** 20;
    await this.host
      .run(["prlimit", "--pid", String(this.vm.pid), `--memlock=${bytes}:${bytes}`], deadline)
      .catch((error: unknown) => {
        throw HullError.wrap(
          `raise the VMM's limit of locked memory to ${bytes} bytes (the shim needs CAP_SYS_RESOURCE for that)`,
          error,
          "FailedPrecondition",
        );
      });
  }

  /** Runs `step` with a node of the group that the VMM's user may open, in place of the host's. */
  async #withNode(
    group: IommuGroup,
    { major, minor }: WantedGroup,
    deadline: Deadline,
    step: () => Promise<void>,
  ): Promise<void> {
    const { nodes } = this.context;
    if (!nodes) return await step();
    const node = await nodes.make(nodeName(group), { major, minor }, deadline);
    await this.host.withNodeMounted(group.node, node, step, deadline);
  }

  async #release(group: IommuGroup, plugged: readonly Plugged[], entry: LedgerEntry): Promise<void> {
    const { nodes, kept, warn } = this.context;
    await nodes?.remove(nodeName(group));
    // A guest that keeps them must not block the container's Delete: they are released with the VM.
    const held = this.#vmEnded ? undefined : await this.#held(group, plugged);
    if (held === undefined || this.#vmEnded) return await entry.forget();
    kept.push(`VFIO group ${group.number}`, () => entry.forget());
    const cause = HullError.from(held).message;
    warn(`device ${group.node}: unplug: ${cause}, so it stays assigned until the VM ends; delete the pod`);
  }

  /** Unplugs the devices. Returns why the VMM still has the group, if it does. */
  async #held(group: IommuGroup, plugged: readonly Plugged[]): Promise<unknown> {
    const all = plugged.length === group.devices.length;
    try {
      await allSettled(plugged.map((one) => one.unplug()));
      // A hot-plug that was given up may still take effect; the kernel knows.
      if (!all)
        await Deadline.within(OPEN_MS, "open the group", (by) => by.race(this.host.requireFree(group)));
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

const nodeName = ({ number }: IommuGroup) => `vfio-${number}`;
