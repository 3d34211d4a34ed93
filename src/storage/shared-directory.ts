import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { type MountSpec, makeReadOnly, makeShared, mountAll, unmountTree } from "../host/mount.ts";
import { removeTree } from "../host/remove-tree.ts";

/** Where the guest mounts the share, and the share's virtio-fs tag. */
export const GUEST_SHARE = "/run/hull/shared";
export const SHARE_TAG = "hull";

/** No container's folder: ids cannot begin with a dot. */
const VOLUMES = ".volumes";

/** A host path that is bind-mounted into the share. */
interface Volume {
  readonly name: string;
  readonly users: Set<string>;
  readonly mounted: Promise<void>;
}

/**
 * The directory that a pod's guest sees. Each container has a folder in it with its `rootfs`. Host paths are
 * bind-mounted below `.volumes`, once for all containers of the pod that ask for the same: what one container writes,
 * unlinks, locks or maps, the others see at once, as on one machine. All mounts live in the shim's own mount namespace. The directory is a shared mount,
 * so that what is mounted below it later shows in virtiofsd's namespace, too (mount_namespaces(7)).
 */
export class SharedDirectory {
  /** By what they are: the same path may name another file after a rename. */
  readonly #volumes = new Map<string, Volume>();
  #next = 0;

  private constructor(readonly path: string) {}

  static async create(path: string, deadline: Deadline): Promise<SharedDirectory> {
    await mkdir(path, { mode: 0o700 });
    await makeShared(path, deadline);
    return new SharedDirectory(path);
  }

  /** Mounts a container's root file system. Returns its path in the guest. */
  async addRootfs(containerId: string, mounts: readonly MountSpec[], deadline: Deadline): Promise<string> {
    const target = join(this.path, containerId, "rootfs");
    await mkdir(target, { recursive: true, mode: 0o755 });
    await mountAll(mounts, target, deadline);
    return `${GUEST_SHARE}/${containerId}/rootfs`;
  }

  /** Bind-mounts a file or directory of the host. Returns its path in the guest. Throws NotFound. */
  async addBind(
    containerId: string,
    source: string,
    options: readonly string[],
    deadline: Deadline,
  ): Promise<string> {
    const found = await stat(source).catch((error: unknown) => {
      throw HullError.wrap(`mount source ${source}`, error);
    });
    const key = JSON.stringify([source, found.dev, found.ino, options]);
    let volume = this.#volumes.get(key);
    if (!volume) {
      const name = String(this.#next++);
      const mounted = this.#mount(name, source, found.isDirectory(), options, deadline);
      volume = { name, users: new Set(), mounted };
      this.#volumes.set(key, volume);
      mounted.catch(() => this.#volumes.delete(key));
    }
    volume.users.add(containerId);
    await volume.mounted;
    return `${GUEST_SHARE}/${VOLUMES}/${volume.name}`;
  }

  /** Unmounts and removes all that only this container has here. Idempotent. */
  async remove(containerId: string, deadline: Deadline): Promise<void> {
    await removeTree(join(this.path, containerId), deadline);
    for (const [key, { name, users }] of [...this.#volumes]) {
      if (!users.delete(containerId) || users.size > 0) continue;
      this.#volumes.delete(key);
      await removeTree(join(this.path, VOLUMES, name), deadline);
    }
  }

  /** Unmounts and removes everything. Idempotent. */
  async dispose(deadline: Deadline): Promise<void> {
    await unmountTree(this.path, deadline);
    await removeTree(this.path, deadline);
  }

  async #mount(
    name: string,
    source: string,
    directory: boolean,
    options: readonly string[],
    deadline: Deadline,
  ): Promise<void> {
    const target = join(this.path, VOLUMES, name);
    await mkdir(directory ? target : join(this.path, VOLUMES), { recursive: true });
    if (!directory) await writeFile(target, "");
    // `rro` is the OCI runtime spec's; the mounts of the host's are one to the guest, where it comes to the same as `ro`.
    const known = options.map((option) => (option === "rro" ? "ro" : option));
    await mountAll([{ type: "bind", source, target: "", options: known }], target, deadline);
    if (options.includes("rro")) await makeReadOnly(target, deadline);
  }
}
