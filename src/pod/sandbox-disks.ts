import { stat } from "node:fs/promises";
import { Deadline } from "../core/deadline.ts";
import type { Ledger } from "../core/ledger.ts";
import type { DeviceNodes } from "../host/device-nodes.ts";
import { attachLoop } from "../host/loop-device.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import { blockDevicePath } from "../storage/block-device.ts";
import type { HostDisk, PluggedDisk } from "./sandbox.ts";

/** How long letting go of a disk may take. */
const RELEASE_LIMIT_MS = 2_000;

/** The disks that are plugged into a pod's VM for its containers. */
export class SandboxDisks {
  #count = 0;
  #vmEnded = false;

  constructor(
    readonly vm: Vm,
    /** Where the VMM may not open the host's devices: nodes of its own. */
    readonly nodes: DeviceNodes | undefined,
    readonly ledger: Ledger,
    readonly log: (message: string, fields?: Record<string, unknown>) => void,
  ) {
    void vm.exited.then(() => {
      this.#vmEnded = true;
    });
  }

  async plug({ source, readOnly }: HostDisk, deadline: Deadline): Promise<PluggedDisk> {
    const serial = `hull-${this.#count++}`;
    const back = await this.#backEnd(source, readOnly, serial, deadline);
    const take = await this.vm
      .plug({ kind: "disk", path: back.path, readOnly, serial }, deadline)
      .catch(async (error: unknown) => {
        await back.release();
        throw error;
      });
    return {
      serial,
      unplug: async () => {
        // A guest that keeps it does not keep the container from being deleted: it goes with the VM.
        if (!this.#vmEnded)
          await take().catch((error) => {
            if (!this.#vmEnded) this.log("disk: the guest keeps it", { path: back.path, err: error });
          });
        await back.release();
      },
    };
  }

  /** What the VMM opens: the disk itself, or where that is not its own to open a node of the device, or of a loop device. */
  async #backEnd(source: HostDisk["source"], readOnly: boolean, name: string, deadline: Deadline) {
    const path = "path" in source ? source.path : await blockDevicePath(source.major, source.minor);
    const { nodes } = this;
    if (!nodes) return { path, release: async () => undefined };
    const file = "path" in source && (await stat(path)).isFile();
    const loop = file ? await attachLoop(path, readOnly, this.ledger, deadline) : undefined;
    const release = async () => {
      await nodes.remove(name);
      const limit = Deadline.after(RELEASE_LIMIT_MS, `free ${path}`);
      await loop?.detach(limit).finally(() => limit.dispose());
    };
    try {
      return { path: await nodes.add(name, loop?.path ?? path, deadline), release };
    } catch (error) {
      await release();
      throw error;
    }
  }
}
