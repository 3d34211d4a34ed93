import type { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, resourceExhausted, unavailable } from "../../core/errors.ts";
import type { VmSpec } from "../hypervisor.ts";
import type { QmpClient } from "./qmp-client.ts";

const MIB = 2 ** 20;
/** A guest answers for what was plugged in at once, unless its kernel cannot. */
const GUEST_MS = 20_000;

/** What is plugged into a running machine to make it larger. It stays to the machine's end. */
export class CpuMemoryHotplug {
  #ids = 0;
  #slots = 0;

  constructor(
    readonly qmp: QmpClient,
    readonly spec: Pick<VmSpec, "growth" | "memory">,
    /** Resolves when the machine has ended. */
    readonly ended: Promise<{ readonly reason: string }>,
  ) {}

  async addVcpu(deadline: Deadline): Promise<void> {
    this.#limits();
    const places = await this.qmp.execute("query-hotpluggable-cpus", undefined, deadline);
    // The last one comes first. Those that are taken have a path.
    const place = places.findLast((one) => one["qom-path"] === undefined);
    if (!place) throw failedPrecondition(`it already has all of its ${places.length} vCPUs`);
    await this.#plug(`vcpu${this.#ids++}`, { driver: place.type, ...place.props }, deadline);
  }

  async addMemory(mib: number, deadline: Deadline): Promise<void> {
    const { memorySlots } = this.#limits();
    if (this.#slots === memorySlots) {
      throw resourceExhausted(`all ${memorySlots} memory slots are in use; raise hypervisor.memory_slots`);
    }
    const id = `dimm${this.#ids++}`;
    const memdev = `${id}-memory`;
    const { hugePages = false, preallocate = false } = this.spec.memory ?? {};
    await this.qmp.execute(
      "object-add",
      {
        ...({ "qom-type": "memory-backend-memfd", id: memdev, size: mib * MIB } as const),
        share: true, // with the vhost-user back ends, as the memory of the start
        ...(hugePages && { hugetlb: true }),
        ...(preallocate && { prealloc: true }),
      },
      deadline,
    );
    this.#slots++;
    try {
      await this.#plug(id, { driver: "pc-dimm", memdev }, deadline);
    } catch (thrown) {
      // QEMU refuses this where the device is there; then the slot stays taken.
      await this.qmp.execute("object-del", { id: memdev }, deadline).then(
        () => this.#slots--,
        () => undefined,
      );
      throw thrown;
    }
  }

  #limits() {
    if (!this.spec.growth) throw failedPrecondition("it was started with a fixed size");
    return this.spec.growth;
  }

  /**
   * Adds a device and waits for the guest to have dealt with it. Linux 6.1 answers success for what it has not taken,
   * too: what it uses only the guest itself can tell.
   */
  async #plug(id: string, device: { driver: string } & Record<string, unknown>, deadline: Deadline) {
    const limit = deadline.shorter(GUEST_MS, `the guest accepting ${device.driver}`);
    let detach = () => undefined as unknown;
    try {
      const answer = new Promise<number>((resolve) => {
        detach = this.qmp.on("ACPI_DEVICE_OST", ({ info }) => info.device === id && resolve(info.status));
      });
      await this.qmp.execute("device_add", { ...device, id }, limit);
      const status = await limit.race(
        Promise.race([
          answer,
          this.ended.then(({ reason }) => {
            throw unavailable(reason);
          }),
        ]),
      );
      if (status !== 0) throw failedPrecondition(`the guest's kernel refused it (ACPI status ${status})`);
    } finally {
      detach();
      limit.dispose();
    }
  }
}
