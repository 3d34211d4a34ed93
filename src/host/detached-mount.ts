import { closeSync, constants } from "node:fs";
import { open } from "node:fs/promises";
import { checked, type MountAddon, O_PATH } from "./mount-addon.ts";
import type { MountAttributes, Propagation } from "./mount-attributes.ts";

/** mount(2) */
const PROPAGATION: Readonly<Record<Propagation, number>> = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
};

/** Where to mount. `path` may be empty, and may neither lead out of the directory nor contain a symlink. */
export interface Place {
  readonly directory: string;
  readonly path: string;
}

/** A mount that is not visible anywhere until it is attached. */
export class DetachedMount {
  readonly #addon: MountAddon;
  readonly #fd: number;
  readonly #path: string;

  private constructor(addon: MountAddon, fd: number, path: string) {
    this.#addon = addon;
    this.#fd = fd;
    this.#path = path;
  }

  /** Runs `use` with the mount `fd` of `path`, which is gone afterwards unless `use` has attached it. */
  static async using<T>(
    addon: MountAddon,
    fd: number,
    path: string,
    use: (mount: DetachedMount) => Promise<T>,
  ): Promise<T> {
    try {
      return await use(new DetachedMount(addon, fd, path));
    } finally {
      closeSync(fd);
    }
  }

  /** Changes the mount, and with `recursive` those below it. It may already be attached. */
  async change(attributes: MountAttributes, recursive = false): Promise<void> {
    const { set = 0, clear = 0, propagation } = attributes;
    if (set === 0 && clear === 0 && propagation === undefined) return;
    const kind = propagation === undefined ? 0 : PROPAGATION[propagation];
    const answer = await this.#addon.change(this.#fd, Number(recursive), set, clear, kind);
    checked(`set the attributes of the mount of ${this.#path}`, answer);
  }

  /** Mounts it. Throws FailedPrecondition if the place is missing, is a symlink or is below one. */
  async attach({ directory, path }: Place): Promise<void> {
    const step = `mount ${this.#path} at ${directory}/${path}`;
    const root = await open(directory, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      const place = checked(step, await this.#addon.open(root.fd, path === "" ? "." : path, O_PATH, 0));
      const answer = await this.#addon.attach(this.#fd, place).finally(() => closeSync(place));
      checked(step, answer);
    } finally {
      await root.close();
    }
  }
}
