import type { Deadline } from "../core/deadline.ts";
import type { DeviceNodes } from "../host/device-nodes.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import { blockDevicePath } from "../storage/block-device.ts";
import type { HostDisk, PluggedDisk } from "./sandbox.ts";

/** The block devices of the host that are plugged into a pod's VM for its containers. */
export class SandboxDisks {
  #count = 0;
  #vmEnded = false;

  constructor(
    readonly vm: Vm,
    /** Where the VMM may not open the host's devices: nodes of its own. */
    readonly nodes: DeviceNodes | undefined,
    readonly log: (message: string, fields?: Record<string, unknown>) => void,
  ) {
    void vm.exited.then(() => {
      this.#vmEnded = true;
    });
  }

  async plug({ major, minor, readOnly }: HostDisk, deadline: Deadline): Promise<PluggedDisk> {
    const device = await blockDevicePath(major, minor);
    const serial = `hull-${this.#count++}`;
    const path = (await this.nodes?.add(serial, device, deadline)) ?? device;
    const take = await this.vm
      .plug({ kind: "disk", path, readOnly, serial }, deadline)
      .catch(async (error: unknown) => {
        await this.nodes?.remove(serial);
        throw error;
      });
    return {
      serial,
      unplug: async () => {
        if (this.#vmEnded) return;
        // A guest that keeps it does not keep the container from being deleted: it goes with the VM.
        await take().catch((error) => {
          if (!this.#vmEnded) this.log("disk: the guest keeps it", { path: device, err: error });
        });
        await this.nodes?.remove(serial);
      },
    };
  }
}
