import { chmod, chown, mkdir, readlink, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { Deadline } from "../core/deadline.ts";
import { HullError, ignoring, internal } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { readMountInfo } from "./mountinfo.ts";
import type { ProcessUser } from "./process-user.ts";
import { removeTree } from "./remove-tree.ts";
import { run } from "./run.ts";

/** The file system's source in the mount table. */
const SOURCE = "hull-devices";
/**
 * $1: the directory; the rest: devices. `cp -R` creates nodes with the same numbers; it does not copy
 * contents.
 */
const SCRIPT = `dir=$1; shift
mount -t tmpfs -o size=64k,mode=755,nosuid,noexec ${SOURCE} "$dir" || exit
[ $# -eq 0 ] || cp -R -- "$@" "$dir" || exit
for device; do mount --bind -- "$dir/\${device##*/}" "$device" || exit; done`;

/** A device's numbers in the kernel. */
export interface DeviceNumbers {
  readonly major: number;
  readonly minor: number;
}

/**
 * Device nodes of one user, usually an unprivileged one, on their own file system. The initial ones are also
 * mounted over the host's in this mount namespace: a program may know a device only by that name.
 */
export class DeviceNodes {
  private constructor(
    readonly directory: string,
    readonly user: ProcessUser,
    readonly bindMounted: readonly string[],
    readonly forget: () => Promise<void>,
  ) {}

  /** Creates nodes for `devices`: paths of the host's nodes, with distinct base names. */
  static async create(
    directory: string,
    user: ProcessUser,
    devices: readonly string[],
    ledger: Ledger,
    deadline: Deadline,
  ): Promise<DeviceNodes> {
    await requireOwnMounts();
    // The mounts over the host's nodes are not recorded: they vanish with the namespace, and outside it the
    // paths are the host's.
    const entry = await ledger.record({ kind: "mount", path: directory });
    const nodes = new DeviceNodes(directory, user, devices, () => entry.forget());
    try {
      await mkdir(directory);
      await run(["sh", "-c", SCRIPT, "sh", directory, ...devices], deadline);
      for (const device of devices) await nodes.#give(join(directory, basename(device)));
      return nodes;
    } catch (thrown) {
      const error = await undo(thrown, (by) => nodes.dispose(by));
      throw HullError.wrap(`create device nodes for user ${user.id}`, error);
    }
  }

  /** Creates a node called `name` for the host's device at `path`; returns the node's path. */
  async add(name: string, path: string, writable: boolean, deadline: Deadline): Promise<string> {
    const node = join(this.directory, name);
    await run(["cp", "-R", "--", path, node], deadline);
    if (writable) await this.#give(node);
    else await this.#show(node);
    return node;
  }

  /**
   * Creates a node called `name` for a character device, which the host may lack a node for; returns its
   * path.
   */
  async make(name: string, { major, minor }: DeviceNumbers, deadline: Deadline): Promise<string> {
    const node = join(this.directory, name);
    await run(["mknod", node, "c", String(major), String(minor)], deadline);
    await this.#give(node);
    return node;
  }

  /**
   * Removes a node, and its mode first: a compromised VMM may hold an O_PATH descriptor of it, to open when
   * the number is another pod's device. Idempotent.
   */
  async remove(name: string): Promise<void> {
    const node = join(this.directory, name);
    await chown(node, 0, 0)
      .then(() => chmod(node, 0))
      .then(() => unlink(node))
      .catch(ignoring("ENOENT"));
  }

  /** Unmounts and removes all nodes. Idempotent. */
  async dispose(deadline: Deadline): Promise<void> {
    // Only our own mounts, since the host may have mounted something there, too. A failed create has made
    // only some. All in one process: to start one takes longer than its work.
    const places = [...this.bindMounted, this.directory];
    const mounted = (await readMountInfo())
      .filter(({ source, target }) => source === SOURCE && places.includes(target))
      .map(({ target }) => target);
    if (mounted.length > 0) await run(["umount", "--lazy", "--no-canonicalize", "--", ...mounted], deadline);
    await removeTree(this.directory, deadline);
    await this.forget();
  }

  /** Makes a node readable only. Root owns it, because an owner can change the mode. */
  async #show(node: string): Promise<void> {
    await chmod(node, 0o440);
    await chown(node, 0, this.user.id);
  }

  async #give(node: string): Promise<void> {
    await chmod(node, 0o600);
    await chown(node, this.user.id, this.user.id);
  }
}

/** Timeout for unmounting a node from a device. */
const UNMOUNT_MS = 2_000;

/**
 * Runs `step` with `node` mounted over the host's `device` in this mount namespace: some programs know only
 * that name.
 */
export async function withNodeMounted<T>(
  device: string,
  node: string,
  step: () => Promise<T>,
  deadline: Deadline,
): Promise<T> {
  await requireOwnMounts();
  await run(["mount", "--bind", "--", node, device], deadline);
  try {
    return await step();
  } finally {
    await Deadline.within(UNMOUNT_MS, `unmount the node from ${device}`, (limit) =>
      run(["umount", "--lazy", "--", device], limit),
    );
  }
}

/**
 * Throws if this process is in the host's mount namespace, where the mounts would hide devices from every
 * process. The daemon has its own (shim/bootstrap). Not checked if init's namespace cannot be read.
 */
async function requireOwnMounts(): Promise<void> {
  const namespace = (pid: string) => readlink(`/proc/${pid}/ns/mnt`);
  const host = await namespace("1").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EACCES") return undefined;
    throw error;
  });
  if (host === (await namespace("self"))) {
    throw internal("device nodes: this process does not have its own mount namespace");
  }
}
