import { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, HullError, internal } from "../../core/errors.ts";
import { printable, textOf } from "../../core/printable.ts";
import { withNodeMounted } from "../../host/device-nodes.ts";
import type { PathAccess } from "../../host/path-access.ts";
import type { HostProcess } from "../../host/process-launcher.ts";
import type { RingBuffer } from "../../host/ring-buffer.ts";
import { accessibleDevice } from "../accessible-spec.ts";
import { consoleTail } from "../console-tail.ts";
import type { HotplugDevice, Plugged, Vm, VmExit, VmSpec, VmStatus } from "../hypervisor.ts";
import { CLONE_FD } from "./command-line.ts";
import { CpuMemoryHotplug } from "./cpu-memory-hotplug.ts";
import { chardevArguments, type DeviceModel, deviceModel, pciDriver, vsockModel } from "./devices.ts";
import { exitReason } from "./exit-reason.ts";
import { isBlockDevice } from "./is-block-device.ts";
import { pciPathOf } from "./pci-path.ts";
import { FreePorts, type Port } from "./ports.ts";
import { type QmpClient, QmpError } from "./qmp-client.ts";
import type { QmpEvents } from "./qmp-types.ts";
import { saveTemplate } from "./template.ts";

/** The device that QEMU opens for a tap. */
const TUN = "/dev/net/tun";

/** The values of QAPI's RunState from which a guest does not recover. */
const BROKEN = new Set(["internal-error", "io-error", "guest-panicked", "shutdown", "watchdog"]);
const MAX_STATUS = 64;

/** How long a guest may take to release a device. */
const UNPLUG_MS = 10_000;

/** The timeout for undoing a failed hot-plug. What remains then is released with the VM. */
const UNDO_MS = 1_000;

/** A VM that runs in QEMU. */
export class QemuVm implements Vm {
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  #ended: VmExit | undefined;
  #shutdown: QmpEvents["SHUTDOWN"] | undefined;
  #plugged = 0;
  readonly #ports: FreePorts;
  readonly #growth: CpuMemoryHotplug;

  constructor(
    readonly spec: VmSpec,
    readonly vmm: HostProcess,
    readonly qmp: QmpClient,
    readonly output: RingBuffer,
    readonly access: Pick<PathAccess, "at">,
  ) {
    this.pid = vmm.pid;
    this.#ports = new FreePorts(spec);
    qmp.on("SHUTDOWN", (data) => {
      this.#shutdown = data;
    });
    this.exited = vmm.exited.then((exit) => {
      this.#ended = {
        reason: exitReason(exit, this.#shutdown, output.text()),
        requested: exit.requested,
        console: output.text(),
        stderr: exit.stderr,
      };
      return this.#ended;
    });
    this.#growth = new CpuMemoryHotplug(qmp, spec, this.exited);
  }

  console(): string {
    return this.output.text();
  }

  async status(deadline: Deadline): Promise<VmStatus> {
    this.#requireRunning("inspect");
    const { running, status } = await this.qmp.execute("query-status", undefined, deadline);
    if (running === true) return { state: "running" };
    const reason = printable(textOf(status), MAX_STATUS);
    return BROKEN.has(reason) ? { state: "broken", reason } : { state: "paused" };
  }

  async pause(deadline: Deadline): Promise<void> {
    this.#requireRunning("pause");
    await this.qmp.execute("stop", undefined, deadline);
  }

  async resume(deadline: Deadline): Promise<void> {
    this.#requireRunning("resume");
    await this.qmp.execute("cont", undefined, deadline);
  }

  async plug(device: HotplugDevice, deadline: Deadline): Promise<Plugged> {
    this.#requireRunning("hot-plug a device into");
    if (this.spec.machine === "microvm") {
      throw failedPrecondition(
        `VM ${this.spec.name}: a microvm does not support hotplug; use machine type q35`,
      );
    }
    const port = this.#ports.take(device.kind === "pci" ? device.windows : undefined);
    const model = this.#model(device);
    try {
      await this.#addBackend(model.backend, deadline);
    } catch (thrown) {
      this.#ports.give(port);
      throw this.#failure(`hot-plug ${device.kind}`, thrown);
    }
    try {
      const { driver, id, properties } = model.frontend;
      await this.qmp.execute(
        "device_add",
        { driver: pciDriver(driver), id, bus: port.bus, addr: port.slot.toString(16), ...properties },
        deadline,
      );
    } catch (thrown) {
      // The first failure is reported. A device that may still exist keeps its port.
      await this.#undoPlug(model, port, thrown).catch(() => undefined);
      throw this.#failure(`hot-plug ${device.kind}`, thrown);
    }
    let removal: Promise<void> | undefined;
    return {
      unplug: () => {
        removal ??= this.#unplug(model, port).catch((thrown: unknown) => {
          removal = undefined; // allows a retry
          throw this.#failure(`unplug ${device.kind}`, thrown);
        });
        return removal;
      },
      pciPath: (by) => pciPathOf(this.qmp, port, by),
    };
  }

  async addVcpu(deadline: Deadline): Promise<void> {
    this.#requireRunning("add a vCPU to");
    await this.#growth.addVcpu(deadline).catch((thrown: unknown) => {
      throw this.#failure("add a vCPU", thrown);
    });
  }

  async addMemory(mib: number, deadline: Deadline): Promise<void> {
    this.#requireRunning("add memory to");
    await this.#growth.addMemory(mib, deadline).catch((thrown: unknown) => {
      throw this.#failure(`add ${mib} MiB of memory`, thrown);
    });
  }

  async snapshot(directory: string, deadline: Deadline): Promise<void> {
    this.#requireRunning("snapshot");
    try {
      await saveTemplate(this.qmp, this.spec, directory, deadline);
    } catch (thrown) {
      throw this.#failure("snapshot", thrown);
    }
  }

  async stop(deadline: Deadline): Promise<void> {
    await this.vmm.stop(deadline, () => this.qmp.execute("quit", undefined, deadline));
    await this.exited;
  }

  /**
   * Undoes a failed hot-plug with a timeout of its own, because the caller's deadline may have caused the failure. Unless
   * QEMU refused the device, it may exist and the answer be late.
   */
  async #undoPlug(model: DeviceModel, port: Port, cause: unknown): Promise<void> {
    await Deadline.within(UNDO_MS, "removing the device again", async (deadline) => {
      if (!(cause instanceof QmpError)) await this.#ejected(model, deadline).catch(unlessUnknown);
      await this.#removeBackend(model.backend, deadline);
      this.#ports.give(port);
    });
  }

  /** Waits until the guest has released the device, and removes the backend. Does nothing once the VMM has exited. */
  async #unplug(model: DeviceModel, port: Port): Promise<void> {
    if (this.#ended) return;
    await Deadline.within(UNPLUG_MS, "the guest releasing the device", async (deadline) => {
      await this.#ejected(model, deadline);
      if (this.#ended) return;
      await this.#removeBackend(model.backend, deadline);
      this.#ports.give(port);
    });
  }

  /** Removes a device. Resolves when the guest has released it, or the VMM has exited. */
  async #ejected({ frontend: { id } }: DeviceModel, deadline: Deadline): Promise<void> {
    const detach: (() => void)[] = [];
    try {
      const gone = new Promise<void>((resolve, reject) => {
        detach.push(
          this.qmp.on("DEVICE_DELETED", (data) => data.device === id && resolve()),
          this.qmp.on("DEVICE_UNPLUG_GUEST_ERROR", (data) => {
            if (data.device === id) reject(failedPrecondition("the guest refused to release the device"));
          }),
        );
      });
      gone.catch(() => undefined); // device_del may fail first
      await this.qmp.execute("device_del", { id }, deadline);
      const ended = this.exited.then(() => undefined);
      await deadline.race(Promise.race([gone, ended]));
    } finally {
      for (const remove of detach) remove();
    }
  }

  #model(device: HotplugDevice): DeviceModel {
    if (device.kind === "vhost") return vsockModel(device, CLONE_FD.vhost);
    const block = device.kind === "disk" && isBlockDevice(device.path);
    return deviceModel(
      accessibleDevice(device, this.access),
      `plugged${this.#plugged++}`,
      block,
      this.spec.block,
    );
  }

  async #addBackend(backend: DeviceModel["backend"], deadline: Deadline): Promise<void> {
    switch (backend?.kind) {
      case "chardev":
        await this.qmp.execute("chardev-add", chardevArguments(backend.id, backend.path), deadline);
        break;
      case "netdev": {
        const { id, tap, vhost } = backend;
        if ("fd" in tap) throw internal(`${id}: a running VMM cannot inherit descriptors`);
        const netdev = { type: "tap", id, ifname: tap.tap, script: "no", downscript: "no", vhost } as const;
        const add = () => this.qmp.execute("netdev_add", netdev, deadline);
        // QEMU opens every tap by this path. A macvtap's device accepts the same ioctls.
        await (tap.device === undefined ? add() : withNodeMounted(TUN, tap.device, add, deadline));
        break;
      }
      case "block":
        await this.qmp.execute("blockdev-add", backend.node, deadline);
        break;
    }
  }

  async #removeBackend(backend: DeviceModel["backend"], deadline: Deadline): Promise<void> {
    switch (backend?.kind) {
      case "chardev":
        await this.qmp.execute("chardev-remove", { id: backend.id }, deadline);
        break;
      case "netdev":
        await this.qmp.execute("netdev_del", { id: backend.id }, deadline);
        break;
      case "block":
        await this.qmp.execute("blockdev-del", { "node-name": backend.node["node-name"] }, deadline);
        break;
    }
  }

  #requireRunning(verb: string): void {
    if (!this.#ended) return;
    const { reason, console } = this.#ended;
    throw failedPrecondition(`cannot ${verb} VM ${this.spec.name}: ${reason}${consoleTail(console, 3)}`);
  }

  #failure(step: string, thrown: unknown): HullError {
    return HullError.wrap(`VM ${this.spec.name}: ${step}`, thrown);
  }
}

/** Rethrows unless QEMU does not know the device, which then need not be removed. */
function unlessUnknown(error: unknown): void {
  if (!(error instanceof QmpError && error.errorClass === "DeviceNotFound")) throw error;
}
