import { closeSync, constants } from "node:fs";
import { open } from "node:fs/promises";
import { getSystemErrorName } from "node:util";
import { failedPrecondition, HullError, internal } from "../core/errors.ts";
import { loadAddon } from "./addon.ts";
import { bindAttributes, type MountAttributes, type Propagation } from "./mount-attributes.ts";

/** native/mount-api.c. A negative answer is an error number. */
interface Addon {
  open(directory: number, path: string, flags: number, mode: number): Promise<number>;
  clone(path: string, recursive: number): Promise<number>;
  change(mount: number, recursive: number, set: number, clear: number, propagation: number): Promise<number>;
  attach(mount: number, place: number): Promise<number>;
  detach(path: string, flags: number): Promise<number>;
}

/** open(2): only a place in the file tree, nothing to read from. Node has no name for it. */
const O_PATH = 0o10000000;
/** mount(2) */
const PROPAGATION: Readonly<Record<Propagation, number>> = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
};
/** umount2(2): MNT_DETACH and UMOUNT_NOFOLLOW */
const DETACH = 2 | 8;
const MOST_ON_ONE_PLACE = 100;

/** Where to mount: no step of `path`, which may be empty, leads out of the directory or is a link of any kind. */
export interface Place {
  readonly directory: string;
  readonly path: string;
}

/** Mounts by descriptor (open_tree(2) and its kin, Linux 5.12): what is mounted is whole before anybody sees it. */
export class MountApi {
  readonly #addon: Addon;

  /** `path`: the addon, built from native/mount-api.c. Throws Unavailable when it cannot be loaded. */
  constructor(path: string) {
    this.#addon = loadAddon<Addon>("mount", path);
  }

  /**
   * Runs `use` with a copy of what is mounted at `path` (a link there is followed); it ends with `use` unless it is
   * attached. `recursive`: with all that is mounted below.
   */
  async withClone<T>(
    path: string,
    recursive: boolean,
    use: (mount: DetachedMount) => Promise<T>,
  ): Promise<T> {
    const fd = checked(`bind ${path}`, await this.#addon.clone(path, Number(recursive)));
    try {
      return await use(new DetachedMount(this.#addon, fd, path));
    } finally {
      closeSync(fd);
    }
  }

  /** Mounts a copy of `source` at `at`, as the options of a bind mount say. */
  async bind(source: string, options: readonly string[], at: Place): Promise<void> {
    const { recursive, top, all } = bindAttributes(options);
    await this.withClone(source, recursive, async (mount) => {
      await mount.change(all, true);
      await mount.change(top);
      await mount.attach(at);
    });
  }

  /** Takes off all that is mounted at `path`, with all below it, also when it is in use. Idempotent. */
  async unmount(path: string): Promise<void> {
    for (let rounds = 0; rounds < MOST_ON_ONE_PLACE; rounds++) {
      const answer = await this.#addon.detach(path, DETACH);
      // EINVAL: nothing is mounted there.
      if (answer < 0 && ["EINVAL", "ENOENT"].includes(getSystemErrorName(answer))) return;
      checked(`unmount ${path}`, answer);
    }
    throw internal(`unmount ${path}: it is mounted again and again`);
  }
}

/** A mount that nobody sees until it is attached. */
export class DetachedMount {
  readonly #addon: Addon;
  readonly #fd: number;
  readonly #path: string;

  constructor(addon: Addon, fd: number, path: string) {
    this.#addon = addon;
    this.#fd = fd;
    this.#path = path;
  }

  /** Changes the mount, `recursive`: and those below it. It may be attached. */
  async change(attributes: MountAttributes, recursive = false): Promise<void> {
    const { set = 0, clear = 0, propagation } = attributes;
    if (set === 0 && clear === 0 && propagation === undefined) return;
    const kind = propagation === undefined ? 0 : PROPAGATION[propagation];
    const answer = await this.#addon.change(this.#fd, Number(recursive), set, clear, kind);
    checked(`set the attributes of the mount of ${this.#path}`, answer);
  }

  /** Mounts it. Throws FailedPrecondition where the place is a link, behind one or missing. */
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

function checked(step: string, answer: number): number {
  if (answer >= 0) return answer;
  const code = getSystemErrorName(answer);
  if (code === "ENOSYS") throw failedPrecondition(`${step}: the kernel is too old; hull needs Linux 5.12`);
  if (code === "ELOOP" || code === "EXDEV")
    throw failedPrecondition(`${step}: it is a link, goes through one or leads out; no mount follows those`);
  throw HullError.wrap(step, Object.assign(new Error(code), { code }), "FailedPrecondition");
}
