import { chmod, chown, lchown, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../../core/deadline.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { ProcessUser } from "../../host/process-user.ts";
import { removeTree } from "../../host/remove-tree.ts";

/** The directory of the sockets of a VM's processes: VMM, virtiofsd and vsock backend. */
export class VmDirectory {
  private constructor(
    readonly path: string,
    readonly user: ProcessUser | undefined,
    readonly forget: () => Promise<void>,
  ) {}

  /** Creates it, recorded in the ledger first. Until `seal`, the VM user may create files in it, too. */
  static async create(path: string, user: ProcessUser | undefined, ledger: Ledger): Promise<VmDirectory> {
    const entry = await ledger.record({ kind: "directory", path });
    await mkdir(path, { mode: 0o700 });
    if (user) await chown(path, user.id, user.id);
    return new VmDirectory(path, user, () => entry.forget());
  }

  /**
   * Must run before the guest: gives the sockets to the user, who may connect to them, and the entries to
   * root, so that a compromised VMM cannot replace them by symlinks or sockets.
   */
  async seal(): Promise<void> {
    const { path, user } = this;
    if (!user) return;
    await chown(path, 0, user.id);
    await chmod(path, 0o710);
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isSocket()) await lchown(join(path, entry.name), user.id, user.id);
    }
  }

  /** Removes it with its contents. Idempotent. */
  async remove(deadline: Deadline): Promise<void> {
    await removeTree(this.path, deadline);
    await this.forget();
  }
}
