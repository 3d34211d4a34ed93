import { chmod, chown, lchown, lstat, mkdir } from "node:fs/promises";
import { failedPrecondition, ignoring } from "../../core/errors.ts";
import type { ProcessUser } from "../../host/process-user.ts";

/**
 * The directory in which an unprivileged VMM binds its own socket when it creates its devices: the user's
 * until `seal`. It is in the VM's directory and removed with it.
 */
export class VmmDirectory {
  private constructor(
    readonly path: string,
    readonly user: ProcessUser,
  ) {}

  /** Creates it for the user. */
  static async create(path: string, user: ProcessUser): Promise<VmmDirectory> {
    await mkdir(path, { mode: 0o700 });
    await chown(path, user.id, user.id);
    return new VmmDirectory(path, user);
  }

  /** Lets the VMM connect to a socket of ours in it. Only before the guest runs. */
  async give(socket: string): Promise<void> {
    await lchown(socket, this.user.id, this.user.id);
  }

  /**
   * Gives the entries to root. The guest already runs and may have compromised the VMM: throws
   * FailedPrecondition if `socket` is not the VMM's own socket (but a symlink to one of the host's, say).
   */
  async seal(socket: string): Promise<void> {
    const { path, user } = this;
    await chown(path, 0, user.id);
    await chmod(path, 0o710);
    const found = await lstat(socket).catch(ignoring("ENOENT"));
    if (!found?.isSocket() || found.uid !== user.id) {
      throw failedPrecondition(`${socket}: the VMM did not bind its own socket there`);
    }
  }
}
