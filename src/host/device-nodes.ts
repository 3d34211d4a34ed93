import { chmod, chown, mkdir, readlink, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError, internal } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { readMountInfo } from "./mountinfo.ts";
import type { ProcessUser } from "./process-user.ts";
import { removeTree } from "./remove-tree.ts";
import { run } from "./run.ts";

/** What the mount table calls the file system. */
const SOURCE = "hull-devices";
/** $1: the directory; the rest: devices. cp makes nodes of the same numbers: nothing of a device is copied. */
const SCRIPT = `dir=$1; shift
mount -t tmpfs -o size=64k,mode=755,nosuid,noexec ${SOURCE} "$dir" || exit
[ $# -eq 0 ] || cp -R -- "$@" "$dir" || exit
for device; do mount --bind -- "$dir/\${device##*/}" "$device" || exit; done`;

/** How the kernel knows a device. */
export interface DeviceNumbers {
  readonly major: number;
  readonly minor: number;
}

/**
 * Device nodes that belong to one user, mostly an unprivileged one, on a file system of their own. Those of the start
 * also lie over the host's in this mount namespace, since a program may know a device only by that name; the host's own
 * are untouched.
 */
export class DeviceNodes {
  private constructor(
    readonly directory: string,
    readonly user: ProcessUser,
    readonly bindMounted: readonly string[],
    readonly forget: () => Promise<void>,
  ) {}

  /** `devices` are paths of the host's nodes, with names that differ. */
  static async create(
    directory: string,
    user: ProcessUser,
    devices: readonly string[],
    ledger: Ledger,
    deadline: Deadline,
  ): Promise<DeviceNodes> {
    await requireOwnMounts();
    // Not the nodes that are mounted over: these mounts end with the namespace, and elsewhere the paths are the host's.
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

  /** A node called `name` for the host's device at `path`, to be written to as well; its path is returned. */
  async add(name: string, path: string, writable: boolean, deadline: Deadline): Promise<string> {
    const node = join(this.directory, name);
    await run(["cp", "-R", "--", path, node], deadline);
    if (writable) await this.#give(node);
    else await this.#show(node);
    return node;
  }

  /** A node called `name` for a character device that the host need have no node of; its path is returned. */
  async make(name: string, { major, minor }: DeviceNumbers, deadline: Deadline): Promise<string> {
    const node = join(this.directory, name);
    await run(["mknod", node, "c", String(major), String(minor)], deadline);
    await this.#give(node);
    return node;
  }

  /**
   * Idempotent. A VMM that was taken over may keep a descriptor of the node's place (O_PATH), to open it once its number is
   * another pod's device: so nobody may open it any more.
   */
  async remove(name: string): Promise<void> {
    const node = join(this.directory, name);
    try {
      await chown(node, 0, 0);
      await chmod(node, 0);
      await unlink(node);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }

  /** Idempotent. */
  async dispose(deadline: Deadline): Promise<void> {
    // Ours only: below them the host may have mounted something, too. A creation that failed may have made some of them.
    const mounted = (await readMountInfo())
      .filter(({ source, target }) => source === SOURCE && this.bindMounted.includes(target))
      .map(({ target }) => target);
    if (mounted.length > 0) await run(["umount", "--lazy", "--", ...mounted], deadline);
    await removeTree(this.directory, deadline);
    await this.forget();
  }

  /** Root's: whoever owns a node can change its mode. */
  async #show(node: string): Promise<void> {
    await chmod(node, 0o440);
    await chown(node, 0, this.user.id);
  }

  async #give(node: string): Promise<void> {
    await chmod(node, 0o600);
    await chown(node, this.user.id, this.user.id);
  }
}

/** How long unmounting a node from a device may take. */
const UNMOUNT_MS = 2_000;

/** Runs `step` while `node` lies over the host's `device` in this mount namespace: for who knows only that name. */
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

/** Mounting nodes over the devices of the host itself would take those from everybody. A daemon has mounts of its own (shim/bootstrap); that is only checked where init can be looked at. */
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
