import { closeSync, constants, createReadStream } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { HullError } from "../core/errors.ts";
import { parseMountInfo } from "../core/mountinfo.ts";
import { DetachedMount, type Place } from "./detached-mount.ts";
import { checked, type MountAddon, mountError } from "./mount-addon.ts";
import { bindAttributes } from "./mount-attributes.ts";

/** How somebody sees the host's files: a mount namespace and the root directory in it, as open descriptors. */
export interface MountView {
  readonly namespace: number;
  readonly root: number;
}

/** What stat(2) tells of a source. */
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
 * A file or directory that a caller has named, as the caller sees it: held by a descriptor, it stays what it is, whatever is
 * renamed or mounted meanwhile. In this process's own mount namespace the same path may be another, or none. Its server may
 * never answer: what asks it goes through the addon, not through Node's few threads.
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

  /** To be closed. Throws NotFound. */
  static async find(addon: MountAddon, view: MountView, path: string): Promise<Source> {
    const fd = await addon.find(view.namespace, view.root, path);
    if (fd < 0) throw HullError.ofCallersPath(`mount source ${path}`, mountError(fd));
    return new Source(addon, view, fd, path);
  }

  /** A path by which this process, and it alone, gets at it; until it is closed. */
  get here(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  async stat(): Promise<SourceStat> {
    const [mode = 0n, dev = 0n, ino = 0n] = this.#told(await this.#addon.stat(this.#fd));
    return { kind: KIND[Number(mode) & constants.S_IFMT] ?? "other", dev, ino };
  }

  /** The size in bytes of the file system that it is in. */
  async fileSystemSize(): Promise<bigint> {
    const [size = 0n] = this.#told(await this.#addon.statfs(this.#fd));
    return size;
  }

  #told(answer: number | bigint[]): bigint[] {
    if (typeof answer === "number")
      throw HullError.ofCallersPath(`mount source ${this.path}`, mountError(answer));
    return answer;
  }

  /** The numbers of the mount that it is in and, `recursive`, of those below it: what a copy of it consists of. */
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

  /** Mounts a copy of it at `at`, as the options of a bind mount say. */
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

  /** Idempotent. */
  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
