import type { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, resourceExhausted, unavailable } from "../../core/errors.ts";
import type { VmSpec } from "../hypervisor.ts";
import type { QmpClient } from "./qmp-client.ts";

const MIB = 2 ** 20;
/** The timeout for the guest's acknowledgement. It is immediate unless the guest's kernel does not support hot-plug. */
const GUEST_MS = 20_000;

/** Hot-plugs CPUs and memory into one VM. They cannot be removed. */
export class CpuMemoryHotplug {
  #ids = 0;
  #slots = 0;

  constructor(
    readonly qmp: QmpClient,
    readonly spec: Pick<VmSpec, "growth" | "memory">,
    /** Resolves when the VM has ended. */
    readonly ended: Promise<{ readonly reason: string }>,
  ) {}

  async addVcpu(deadline: Deadline): Promise<void> {
    this.#limits();
    const slots = await this.qmp.execute("query-hotpluggable-cpus", undefined, deadline);
    // QEMU lists them in descending order. A slot in use has a qom-path.
    const slot = slots.findLast((one) => one["qom-path"] === undefined);
    if (!slot) throw failedPrecondition(`it already has all of its ${slots.length} vCPUs`);
    await this.#plug(`vcpu${this.#ids++}`, { driver: slot.type, ...slot.props }, deadline);
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
        share: true, // with the vhost-user backends, like the memory at boot
        ...(hugePages && { hugetlb: true }),
        ...(preallocate && { prealloc: true }),
      },
      deadline,
    );
    this.#slots++;
    try {
      await this.#plug(id, { driver: "pc-dimm", memdev }, deadline);
    } catch (thrown) {
      // QEMU refuses this if the device exists after all; then the slot stays in use.
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
   * Adds a device and waits for the guest's acknowledgement. Linux 6.1 also acknowledges what it could not add: only the
   * agent knows what the guest uses.
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
