import { closeSync, constants, createReadStream } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { HullError } from "../core/errors.ts";
import { parseMountInfo } from "../core/mountinfo.ts";
import { DetachedMount, type Place } from "./detached-mount.ts";
import { checked, type MountAddon, mountError } from "./mount-addon.ts";
import { bindAttributes } from "./mount-attributes.ts";

/** A process's view of the host's files: its mount namespace and root directory, as open descriptors. */
export interface MountView {
  readonly namespace: number;
  readonly root: number;
}

/** What stat(2) returns about a source. */
interface SourceStat {
  readonly kind: "file" | "directory" | "block device" | "other";
  readonly dev: bigint;
  readonly ino: bigint;
}

const KIND: Readonly<Record<number, SourceStat["kind"]>> = {
  [constants.S_IFREG]: "file",
  [constants.S_IFDIR]: "directory",
  [constants.S_IFBLK]: "block device",
};

/**
 * A file or directory in the caller's mount namespace, pinned by a descriptor whatever is renamed or mounted.
 * Its file server may hang, so calls go through the addon, not through Node's few threads.
 */
export class Source {
  readonly #addon: MountAddon;
  readonly #view: MountView;
  readonly #fd: number;
  #open = true;

  private constructor(
    addon: MountAddon,
    view: MountView,
    fd: number,
    readonly path: string,
  ) {
    this.#addon = addon;
    this.#view = view;
    this.#fd = fd;
  }

  /** Opens `path` in `view`. The result must be closed. Throws NotFound. */
  static async find(addon: MountAddon, view: MountView, path: string): Promise<Source> {
    const fd = await addon.find(view.namespace, view.root, path);
    if (fd < 0) throw HullError.ofCallersPath(`mount source ${path}`, mountError(fd));
    return new Source(addon, view, fd, path);
  }

  /** A path to it that only works in this process, until it is closed. */
  get here(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  /** Returns its kind, device and inode. Throws as for a path of the caller's. */
  async stat(): Promise<SourceStat> {
    const [mode = 0n, dev = 0n, ino = 0n] = this.#values(await this.#addon.stat(this.#fd));
    return { kind: KIND[Number(mode) & constants.S_IFMT] ?? "other", dev, ino };
  }

  /** Returns the size of its file system in bytes. */
  async fileSystemSize(): Promise<bigint> {
    const [size = 0n] = this.#values(await this.#addon.statfs(this.#fd));
    return size;
  }

  #values(answer: number | bigint[]): bigint[] {
    if (typeof answer === "number")
      throw HullError.ofCallersPath(`mount source ${this.path}`, mountError(answer));
    return answer;
  }

  /** Returns the IDs of its mount and, with `recursive`, of those below: what a copy of it consists of. */
  async mountIds(recursive: boolean): Promise<number[]> {
    const info = await readFile(`/proc/self/fdinfo/${this.#fd}`, "utf8");
    const own = Number(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1]);
    if (!recursive) return [own];
    const { namespace, root } = this.#view;
    const fd = checked("list the caller's mounts", await this.#addon.mounts(namespace, root));
    const mounts = parseMountInfo(await text(createReadStream("", { fd })));
    const real = await readlink(this.here);
    const below = mounts.filter(({ target }) => target.startsWith(real === "/" ? real : `${real}/`));
    return [own, ...below.map(({ id }) => id)];
  }

  /** Mounts a copy of it at `at`, with the options of a bind mount. */
  async bind(options: readonly string[], at: Place): Promise<void> {
    const { recursive, top, all } = bindAttributes(options);
    const { namespace, root } = this.#view;
    const copy = await this.#addon.take(namespace, root, this.#fd, Number(recursive));
    await DetachedMount.using(this.#addon, checked(`bind ${this.path}`, copy), this.path, async (mount) => {
      await mount.change(all, true);
      await mount.change(top);
      await mount.attach(at);
    });
  }

  /** Closes the descriptor. Idempotent. */
  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
