import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import type { OciResources } from "../oci/spec.ts";
import { grownSize, growthPieces, neededSize, requireReachable } from "../resources/grown-size.ts";
import { limitsOfResources, type SizedResources } from "../resources/pod-limits.ts";
import type { SizingRule, VmSize } from "../resources/sizing.ts";
import type { VmCapacity } from "./vm-capacity.ts";

/** Timeout for growing the VM, whatever the callers' deadlines are. */
const GROW_LIMIT_MS = 60_000;

/** What a growing VM's capacity works with. */
interface GrowingVm {
  readonly vm: Pick<Vm, "addVcpu" | "addMemory">;
  readonly agent: Pick<GuestAgent, "onlineResources">;
  readonly rule: SizingRule;
  /** Returns the current memory limit of the pod's cgroup and its ancestors in MiB; undefined = unlimited. */
  memoryLimitMib(): Promise<number | undefined>;
  log(message: string, fields?: Record<string, unknown>): void;
}

/** A VM that grows with the limits of its containers. It does not shrink. */
export class GrowingCapacity implements VmCapacity {
  readonly #queue = new SerialQueue();
  /** The limits of the existing containers. */
  readonly #claims = new Map<string, SizedResources>();
  readonly #parts: GrowingVm;
  /** What the guest uses. */
  #size: VmSize;
  /** What the VM has: more than `#size` if the guest has failed to bring it online. */
  #plugged: VmSize;

  constructor(
    readonly booted: VmSize,
    parts: GrowingVm,
  ) {
    this.#parts = parts;
    this.#size = booted;
    this.#plugged = booted;
  }

  get size(): VmSize {
    return this.#size;
  }

  async admit(container: string, resources: OciResources, deadline: Deadline): Promise<void> {
    await this.#claim(container, () => resources, deadline);
  }

  async change(container: string, resources: OciResources, deadline: Deadline): Promise<void> {
    try {
      await this.#claim(container, (before) => before && merged(before, resources), deadline);
    } catch (error) {
      throw HullError.wrap(`update container ${container}`, error);
    }
  }

  forget(container: string): void {
    void this.#queue.run(async () => this.#claims.delete(container));
  }

  describe(): Snapshot {
    return { ...this.#size, plugged: this.#plugged, queue: this.#queue.describe() };
  }

  /**
   * `limits` returns the new limits for the current ones, or undefined to claim nothing (a pause container).
   */
  async #claim(
    container: string,
    limits: (before: SizedResources | undefined) => SizedResources | undefined,
    deadline: Deadline,
  ): Promise<void> {
    // Growing continues even if the caller has timed out, so that the VM's size stays known.
    const claimed = this.#queue.run(async () => {
      deadline.check();
      const resources = limits(this.#claims.get(container));
      if (!resources) return;
      const claims = new Map(this.#claims).set(container, resources);
      requireReachable(limitsOfResources(resources), this.#plugged, this.#parts.rule);
      await this.#growTo(neededSize([...claims.values()].map(limitsOfResources), this.#parts.rule));
      this.#claims.set(container, resources);
    });
    await deadline.race(claimed);
  }

  async #growTo(needed: VmSize): Promise<void> {
    const { vcpus, memoryMib } = this.#size;
    if (needed.vcpus <= vcpus && needed.memoryMib <= memoryMib) return;
    const { vm, rule } = this.#parts;
    const target = grownSize(this.booted, this.#plugged, needed, await this.#parts.memoryLimitMib(), rule);
    await Deadline.within(GROW_LIMIT_MS, "grow the VM", async (limit) => {
      for (const piece of growthPieces(target.memoryMib - this.#plugged.memoryMib)) {
        await vm.addMemory(piece, limit);
        this.#plugged = { ...this.#plugged, memoryMib: this.#plugged.memoryMib + piece };
        await this.#use(limit);
      }
      while (this.#plugged.vcpus < target.vcpus) {
        await vm.addVcpu(limit);
        this.#plugged = { ...this.#plugged, vcpus: this.#plugged.vcpus + 1 };
      }
      await this.#use(limit);
    });
  }

  /** Makes the guest bring online what was hot-plugged, including what it failed to at an earlier attempt. */
  async #use(deadline: Deadline): Promise<void> {
    if (this.#size === this.#plugged) return;
    const { agent, log } = this.#parts;
    await agent.onlineResources(this.#plugged, deadline);
    this.#size = this.#plugged;
    log("the VM has grown", { ...this.#size });
  }
}

/** An update only contains the limits that change. */
const merged = (before: SizedResources, { memory, cpu }: SizedResources): SizedResources => ({
  memory: { ...before.memory, ...memory },
  cpu: { ...before.cpu, ...cpu },
});
