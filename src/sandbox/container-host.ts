import type { GuestBlockDevice, GuestRootDisk } from "../agent/guest-agent.ts";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { GUEST_ROOTS } from "../core/guest-paths.ts";
import type { WantedDisk, WantedGroup } from "../oci/guest-devices.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import { rootDisk } from "../oci/rootfs.ts";
import type { OciMount } from "../oci/spec.ts";
import type { PluggedDisk, Sandbox, SharedContainer } from "./sandbox.ts";

/** How the directory of kernel modules is bound into the share. */
export const MODULES_OPTIONS = ["bind", "ro", "nosuid", "nodev"];

/** A container's resources on the host: its root file system, volumes, disks and assigned devices. */
export class ContainerHost {
  readonly #sandbox: Sandbox;
  readonly #id: string;
  /** Disks and groups of PCI devices. */
  readonly #devices: Pick<PluggedDisk, "unplug">[] = [];
  #shared: SharedContainer | undefined;
  #rootDisk: GuestRootDisk | undefined;

  constructor(sandbox: Sandbox, id: string) {
    this.#sandbox = sandbox;
    this.#id = id;
  }

  /** The root file system's path in the guest. */
  get rootfs(): string {
    return this.#shared?.rootfs ?? `${GUEST_ROOTS}/${this.#id}`;
  }

  /** The root file system's disk; undefined if it is in the share. */
  get rootDisk(): GuestRootDisk | undefined {
    return this.#rootDisk;
  }

  /**
   * Gives the guest the container's root file system: as a disk if it is one and the VM accepts it, else by
   * the share.
   */
  async prepare(
    source: RootfsSource,
    log: (message: string, fields?: Record<string, unknown>) => void,
    deadline: Deadline,
  ): Promise<void> {
    const root = await plugRoot(this.#sandbox, source, log, deadline);
    if (root) this.#devices.push(root.disk);
    this.#rootDisk = root?.guest;
    this.#shared = await this.#sandbox.share.add(this.#id, root ? undefined : source, deadline);
  }

  /** Makes a host path available in the guest and returns its path there. */
  async bind(mount: OciMount): Promise<string> {
    if (!this.#shared) throw new Error(`container ${this.#id} has no root file system yet`);
    return await this.#shared.bind(mount);
  }

  /** Hot-plugs a disk that the container sees as a device. */
  async plug({ path, access, major, minor }: WantedDisk, deadline: Deadline): Promise<GuestBlockDevice> {
    const source = { major, minor };
    const disk = await this.#sandbox.plugDisk({ source, readOnly: access === "r" }, deadline);
    this.#devices.push(disk);
    return { serial: disk.serial, path, access };
  }

  /** Assigns the PCI devices of a VFIO group. Returns where the guest finds them (`Plugged.pciPath`). */
  async assign(wanted: WantedGroup, deadline: Deadline): Promise<readonly string[]> {
    const group = await this.#sandbox.assignGroup(wanted, deadline);
    this.#devices.push(group);
    return group.pciPaths;
  }

  /** Shares the guest kernel's modules that are loaded on demand. Returns their path in the guest, if there are any. */
  async shareModules(): Promise<string | undefined> {
    const source = await this.#sandbox.moduleDirectory();
    if (source === undefined) return undefined;
    return await this.bind({ destination: source, source, options: MODULES_OPTIONS });
  }

  /**
   * Releases everything, devices before mounts, even if some of it fails; the next call retries that.
   * Idempotent.
   */
  async release(): Promise<void> {
    const unplugged = [...this.#devices].map(async (device) => {
      await device.unplug();
      this.#devices.splice(this.#devices.indexOf(device), 1);
    });
    await Promise.allSettled(unplugged);
    await allSettled([...unplugged, this.#shared?.release() ?? Promise.resolve()]);
  }
}

async function plugRoot(
  sandbox: Sandbox,
  { mounts }: RootfsSource,
  log: (message: string, fields?: Record<string, unknown>) => void,
  deadline: Deadline,
) {
  const found = rootDisk(mounts);
  if (!found) return undefined;
  const { path, image, fsType, readOnly, options } = found;
  try {
    const disk = await sandbox.plugDisk({ source: { path, image }, readOnly }, deadline);
    return { disk, guest: { serial: disk.serial, fsType, readOnly, options } };
  } catch (error) {
    const { code, message } = HullError.from(error);
    if (code !== "ResourceExhausted" && code !== "FailedPrecondition") throw error;
    log("the root file system is shared instead of hot-plugged", { path, reason: message });
    return undefined;
  }
}
