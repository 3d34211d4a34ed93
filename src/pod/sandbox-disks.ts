import type { Deadline } from "../core/deadline.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import { blockDevicePath } from "../storage/block-device.ts";
import type { HostDisk, PluggedDisk } from "./sandbox.ts";

/** The disks that are plugged into a pod's VM for its containers. */
export class SandboxDisks {
  #count = 0;
  #vmEnded = false;

  constructor(
    readonly vm: Vm,
    readonly log: (message: string, fields?: Record<string, unknown>) => void,
  ) {
    void vm.exited.then(() => {
      this.#vmEnded = true;
    });
  }

  async plug({ source, readOnly }: HostDisk, deadline: Deadline): Promise<PluggedDisk> {
    const path = "path" in source ? source.path : await blockDevicePath(source.major, source.minor);
    const serial = `hull-${this.#count++}`;
    const take = await this.vm.plug({ kind: "disk", path, readOnly, serial }, deadline);
    return {
      serial,
      unplug: async () => {
        if (this.#vmEnded) return;
        // A guest that keeps it does not keep the container from being deleted: it goes with the VM.
        await take().catch((error) => {
          if (!this.#vmEnded) this.log("disk: the guest keeps it", { path, err: error });
        });
      },
    };
  }
}
