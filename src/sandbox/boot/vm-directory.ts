import { chmod, chown, lchown, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../../core/deadline.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { ProcessUser } from "../../host/process-user.ts";
import { removeTree } from "../../host/remove-tree.ts";

/** The directory in which a VM's processes meet: the monitor's, virtiofsd's and vsock's sockets. */
export class VmDirectory {
  private constructor(
    readonly path: string,
    readonly user: ProcessUser | undefined,
    readonly forget: () => Promise<void>,
  ) {}

  /** Makes it. Until `seal` the user, too, may make files in it. */
  static async create(path: string, user: ProcessUser | undefined, ledger: Ledger): Promise<VmDirectory> {
    const entry = await ledger.record({ kind: "directory", path });
    await mkdir(path, { mode: 0o700 });
    if (user) await chown(path, user.id, user.id);
    return new VmDirectory(path, user, () => entry.forget());
  }

  /**
   * Before the guest runs: the sockets in it become the user's, to connect to, and the names root's. Whoever takes the
   * monitor over cannot put a link or a socket of his own where the shim will look.
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

  /** Idempotent. */
  async remove(deadline: Deadline): Promise<void> {
    await removeTree(this.path, deadline);
    await this.forget();
  }
}
