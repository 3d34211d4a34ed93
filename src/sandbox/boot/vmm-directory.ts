import { chmod, chown, lchown, lstat, mkdir } from "node:fs/promises";
import { failedPrecondition, ignoring } from "../../core/errors.ts";
import type { ProcessUser } from "../../host/process-user.ts";

/**
 * The directory in which an unprivileged monitor binds a socket of its own, when it makes its devices: the user's until
 * `seal`. It lies in the VM's directory, which takes it along.
 */
export class VmmDirectory {
  private constructor(
    readonly path: string,
    readonly user: ProcessUser,
  ) {}

  static async create(path: string, user: ProcessUser): Promise<VmmDirectory> {
    await mkdir(path, { mode: 0o700 });
    await chown(path, user.id, user.id);
    return new VmmDirectory(path, user);
  }

  /** Lets the monitor connect to a socket of ours in it. Only before the guest runs. */
  async give(socket: string): Promise<void> {
    await lchown(socket, this.user.id, this.user.id);
  }

  /**
   * Makes the names in it root's. The guest runs by now and may have taken the monitor over: what it put at `socket`, if not
   * a socket of its own (a link to one of the host's, say), is refused, and cannot be changed afterwards.
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
