import type { GuestBlockDevice, GuestRootDisk } from "../agent/guest-agent.ts";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { GUEST_ROOTS } from "../core/guest-paths.ts";
import { undo } from "../core/undo.ts";
import type { WantedDisk } from "./guest-devices.ts";
import type { OciMount } from "./oci-spec.ts";
import { rootDisk } from "./root-disk.ts";
import type { PluggedDisk, RootfsSource, Sandbox, SharedContainer } from "./sandbox.ts";

/** What a container has on the host: its root file system, its volumes, its disks. */
export class ContainerHost {
  /** Path of the root file system in the guest. */
  readonly rootfs: string;
  /** The disk that the root file system is on, if it is not in the share. */
  readonly rootDisk: GuestRootDisk | undefined;
  readonly #sandbox: Sandbox;
  readonly #shared: SharedContainer;
  readonly #disks: PluggedDisk[];

  private constructor(
    sandbox: Sandbox,
    shared: SharedContainer,
    id: string,
    root: { readonly guest: GuestRootDisk; readonly disk: PluggedDisk } | undefined,
  ) {
    this.#sandbox = sandbox;
    this.#shared = shared;
    this.#disks = root ? [root.disk] : [];
    this.rootDisk = root?.guest;
    this.rootfs = shared.rootfs ?? `${GUEST_ROOTS}/${id}`;
  }

  /**
   * Gives the guest a container's root file system: as a disk where it is one and the VM takes it, else through the
   * share. On failure nothing of it is left.
   */
  static async prepare(
    sandbox: Sandbox,
    id: string,
    source: RootfsSource,
    log: (message: string, fields?: Record<string, unknown>) => void,
    deadline: Deadline,
  ): Promise<ContainerHost> {
    const root = await plugRoot(sandbox, source, log, deadline);
    try {
      const shared = await sandbox.share.add(id, root ? undefined : source, deadline);
      return new ContainerHost(sandbox, shared, id, root);
    } catch (error) {
      throw await undo(error, async () => await root?.disk.unplug());
    }
  }

  /** Makes a host path available in the guest and answers its path there. */
  bind(mount: OciMount): Promise<string> {
    return this.#shared.bind(mount);
  }

  /** Plugs in a disk that the container sees as a device. */
  async plug({ path, access, major, minor }: WantedDisk, deadline: Deadline): Promise<GuestBlockDevice> {
    const source = { major, minor };
    const disk = await this.#sandbox.plugDisk({ source, readOnly: access === "r" }, deadline);
    this.#disks.push(disk);
    return { serial: disk.serial, path, access };
  }

  /**
   * Frees it all, the disks before the mounts, also when some of it fails: that is tried again by the next call.
   * Idempotent.
   */
  async release(): Promise<void> {
    const unplugged = [...this.#disks].map(async (disk) => {
      await disk.unplug();
      this.#disks.splice(this.#disks.indexOf(disk), 1);
    });
    await Promise.allSettled(unplugged);
    await allSettled([...unplugged, this.#shared.release()]);
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
    log("the root file system is shared instead of plugged in", { path, reason: message });
    return undefined;
  }
}
