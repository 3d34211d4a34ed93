import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Deadline } from "../core/deadline.ts";
import type { Disposer } from "../core/disposer.ts";
import { failedPrecondition } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import type { DeviceNodes } from "../host/device-nodes.ts";
import { attachLoop } from "../host/loop-device.ts";
import type { MountApi } from "../host/mount-api.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import { blockDevicePath } from "../storage/block-device.ts";
import { BoundFile } from "../storage/bound-file.ts";
import type { HostDisk, PluggedDisk } from "./sandbox.ts";

/** Timeout for releasing a disk. */
const RELEASE_LIMIT_MS = 2_000;

/** What a pod's disks need. */
interface DisksContext {
  /** The VMM's device nodes, if it may not open the host's. */
  readonly nodes: Pick<DeviceNodes, "add" | "remove"> | undefined;
  readonly mounts: MountApi;
  readonly ledger: Ledger;
  /** Receives the release of what the VMM keeps open, to run when the VMM and its forks are gone. */
  readonly kept: Disposer;
  /** The pod's directory. */
  readonly directory: string;
  log(message: string, fields?: Record<string, unknown>): void;
}

/** A file or device that the VMM opens. */
interface Backend {
  readonly path: string;
  release(): Promise<void>;
}

/** The disks that are hot-plugged into a pod's VM for its containers. */
export class SandboxDisks {
  #count = 0;
  #vmEnded = false;

  constructor(
    readonly vm: Pick<Vm, "plug" | "exited">,
    readonly context: DisksContext,
  ) {
    void vm.exited.then(() => {
      this.#vmEnded = true;
    });
  }

  /** Hot-plugs a disk. Throws as `Sandbox.plugDisk`. */
  async plug({ source, readOnly }: HostDisk, deadline: Deadline): Promise<PluggedDisk> {
    const serial = `hull-${this.#count++}`;
    const back = await this.#backend(source, readOnly, serial, deadline);
    const plugged = await this.vm
      .plug({ kind: "disk", path: back.path, readOnly, serial }, deadline)
      .catch(async (error: unknown) => {
        throw await undo(error, () => back.release());
      });
    return {
      serial,
      unplug: async () => {
        // A guest that keeps it must not block the container's Delete: it is released with the VM.
        if (!this.#vmEnded)
          await plugged.unplug().catch((error) => {
            if (!this.#vmEnded)
              this.context.log("disk: the guest did not release it", { path: back.path, err: error });
          });
        await back.release();
      },
    };
  }

  async #backend(
    source: HostDisk["source"],
    readOnly: boolean,
    name: string,
    deadline: Deadline,
  ): Promise<Backend> {
    if (!("path" in source)) {
      const device = {
        path: await blockDevicePath(source.major, source.minor),
        release: async () => undefined,
      };
      return await this.#forVmm(device, name, !readOnly, deadline);
    }
    const { bound, file } = await this.#bind(source, name);
    const back = { path: bound.path, release: () => bound.remove() };
    // The VMM needs a loop device only if it opens disks by device nodes.
    const device =
      file && this.context.nodes ? await this.#loop(source.path, back, readOnly, deadline) : back;
    return await this.#forVmm(device, name, !readOnly, deadline);
  }

  /**
   * Binds the caller's file or device to a path of ours, since this process and the VMM may not see the
   * caller's path.
   */
  async #bind({ path, image }: Extract<HostDisk["source"], { path: string }>, name: string) {
    const { mounts, directory } = this.context;
    const disks = join(directory, "disks");
    await mkdir(disks, { recursive: true, mode: 0o700 });
    return await mounts.withSource(path, async (found) => {
      const { kind } = await found.stat();
      const file = image && kind === "file";
      if (!file && kind !== "block device") throw failedPrecondition(`${path} is not a block device`);
      return { file, bound: await BoundFile.create(found, join(disks, name), mounts) };
    });
  }

  async #loop(file: string, back: Backend, readOnly: boolean, deadline: Deadline): Promise<Backend> {
    const loop = await attachLoop(file, readOnly, this.context, deadline, back.path).catch(
      async (error: unknown) => {
        throw await undo(error, () => back.release());
      },
    );
    return {
      path: loop.path,
      release: async () => {
        try {
          await Deadline.within(RELEASE_LIMIT_MS, `release ${file}`, (limit) => loop.detach(limit));
        } catch (error) {
          if (this.#vmEnded) throw error;
          this.context.kept.push(`loop device ${loop.path}`, (by) => loop.detach(by));
          this.context.log("disk: its loop device stays until the VM ends", { err: error });
        }
        await back.release();
      },
    };
  }

  /** Returns the disk, or a device node of it if the VMM may not open the disk. */
  async #forVmm(back: Backend, name: string, writable: boolean, deadline: Deadline): Promise<Backend> {
    const { nodes } = this.context;
    if (!nodes) return back;
    const release = async () => {
      await nodes.remove(name);
      await back.release();
    };
    try {
      return { path: await nodes.add(name, back.path, writable, deadline), release };
    } catch (error) {
      throw await undo(error, release);
    }
  }
}
