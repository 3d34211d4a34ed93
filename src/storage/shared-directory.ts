import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { type MountSpec, makeShared, mountAll, unmountTree } from "../host/mount.ts";
import { removeTree } from "../host/remove-tree.ts";

/** Where the guest mounts the share, and the share's virtio-fs tag. */
export const GUEST_SHARE = "/run/hull/shared";
export const SHARE_TAG = "hull";

/**
 * The directory that a pod's guest sees. Each container has a folder in it: `rootfs`, and a numbered entry for each
 * host path that is bind-mounted. All mounts live in the shim's own mount namespace. The directory is a shared mount,
 * so that what is mounted below it later shows in virtiofsd's namespace, too (mount_namespaces(7)).
 */
export class SharedDirectory {
  readonly #binds = new Map<string, number>();

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
    const number = this.#binds.get(containerId) ?? 0;
    this.#binds.set(containerId, number + 1);
    const name = `mount-${number}`;
    const target = join(this.path, containerId, name);
    const kind = await stat(source).catch((error: unknown) => {
      throw HullError.wrap(`mount source ${source}`, error);
    });
    if (kind.isDirectory()) await mkdir(target, { recursive: true });
    else await writeFile(target, "");
    await mountAll([{ type: "bind", source, target: "", options }], target, deadline);
    return `${GUEST_SHARE}/${containerId}/${name}`;
  }

  /** Unmounts and removes all that a container has here. Idempotent. */
  async remove(containerId: string, deadline: Deadline): Promise<void> {
    this.#binds.delete(containerId);
    await removeTree(join(this.path, containerId), deadline);
  }

  /** Unmounts and removes everything. Idempotent. */
  async dispose(deadline: Deadline): Promise<void> {
    await unmountTree(this.path, deadline);
    await removeTree(this.path, deadline);
  }
}
