import { closeSync, createReadStream, type Stats } from "node:fs";
import { readFile, readlink, stat } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { HullError } from "../core/errors.ts";
import { systemError } from "./addon.ts";
import { DetachedMount, type Place } from "./detached-mount.ts";
import { checked, type MountAddon } from "./mount-addon.ts";
import { bindAttributes } from "./mount-attributes.ts";
import { parseMountInfo } from "./mountinfo.ts";

/** How somebody sees the host's files: a mount namespace and the root directory in it, as open descriptors. */
export interface MountView {
  readonly namespace: number;
  readonly root: number;
}

/**
 * A file or directory that a caller has named, as the caller sees it: held by a descriptor, it stays what it is, whatever is
 * renamed or mounted meanwhile. In this process's own mount namespace the same path may be another, or none.
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
    if (fd < 0) throw HullError.ofCallersPath(`mount source ${path}`, systemError(fd));
    return new Source(addon, view, fd, path);
  }

  /** A path by which this process, and it alone, gets at it; until it is closed. */
  get here(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  async stat(): Promise<Stats> {
    return await stat(this.here);
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
