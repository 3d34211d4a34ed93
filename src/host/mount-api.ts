import { open } from "node:fs/promises";
import { getSystemErrorName } from "node:util";
import { failedPrecondition, HullError, internal } from "../core/errors.ts";
import { systemError } from "./addon.ts";
import { DetachedMount, type Place } from "./detached-mount.ts";
import { checked, loadMountAddon, type MountAddon, O_PATH } from "./mount-addon.ts";
import { type MountView, Source } from "./source.ts";

/** umount2(2): MNT_DETACH and UMOUNT_NOFOLLOW */
const DETACH = 2 | 8;
const MOST_ON_ONE_PLACE = 100;

/** The arguments of mount(2), except the target. */
interface FileSystem {
  readonly type: string;
  readonly source: string;
  readonly flags: number;
  readonly options: string;
  /** The base of relative paths in the options. */
  readonly directory: string;
}

/**
 * Mounts by descriptor (open_tree(2) etc., Linux 5.12), so a mount is complete before it is visible. Sources
 * are the caller's; a detached mount may be attached in any namespace (fs/namespace.c, do_move_mount).
 */
export class MountApi {
  readonly #addon: MountAddon;
  readonly #caller: MountView;

  /** `path`: the addon, built from native/mount-api.c. Throws Unavailable if it cannot be loaded. */
  constructor(path: string, caller: MountView) {
    this.#addon = loadMountAddon(path);
    this.#caller = caller;
  }

  /** Opens `path` as the caller sees it, following symlinks. The result must be closed. Throws NotFound. */
  find(path: string): Promise<Source> {
    return Source.find(this.#addon, this.#caller, path);
  }

  /** Runs `use` with `path` as the caller sees it. Throws NotFound. */
  async withSource<T>(path: string, use: (source: Source) => Promise<T>): Promise<T> {
    const source = await this.find(path);
    try {
      return await use(source);
    } finally {
      source.close();
    }
  }

  /**
   * Detaches a loop device of ours, which is open here. False if another process has it open, too: then its
   * number stays taken while it is open here.
   */
  async detachLoop(device: number): Promise<boolean> {
    return checked("detach a loop device", await this.#addon.detachLoop(device)) === 1;
  }

  /**
   * Bind-mounts `source`, as the caller sees it, at `at` with the options of a bind mount. Throws NotFound.
   */
  async bind(source: string, options: readonly string[], at: Place): Promise<void> {
    await this.withSource(source, (found) => found.bind(options, at));
  }

  /**
   * Runs `use` with a new file system of the caller's; it is gone afterwards unless attached. The caller must
   * see `scratch`, too. Throws FailedPrecondition if the kernel refuses it.
   */
  async withNew<T>(
    { type, source, flags, options, directory }: FileSystem,
    scratch: string,
    use: (mount: DetachedMount) => Promise<T>,
  ): Promise<T> {
    const { namespace, root } = this.#caller;
    const fd = await this.#addon.create(namespace, root, directory, type, source, scratch, flags, options);
    if (fd < 0)
      throw failedPrecondition(
        `mount ${source} (${type}): ${HullError.from(systemError(fd)).message}; see the kernel log`,
      );
    return await DetachedMount.using(this.#addon, fd, source, use);
  }

  /**
   * Runs `use` with a copy of what this process has mounted at `path`, `recursive` with the mounts below; it
   * is gone afterwards unless `use` has attached it.
   */
  async withClone<T>(
    path: string,
    recursive: boolean,
    use: (mount: DetachedMount) => Promise<T>,
  ): Promise<T> {
    const place = await open(path, O_PATH);
    const fd = await this.#addon.clone(place.fd, Number(recursive)).finally(() => place.close());
    return await DetachedMount.using(this.#addon, checked(`bind ${path}`, fd), path, use);
  }

  /** Unmounts everything at `path` and below, even if it is in use. Idempotent. */
  async unmount(path: string): Promise<void> {
    for (let rounds = 0; rounds < MOST_ON_ONE_PLACE; rounds++) {
      const answer = await this.#addon.detach(path, DETACH);
      // EINVAL: nothing is mounted there.
      if (answer < 0 && ["EINVAL", "ENOENT"].includes(getSystemErrorName(answer))) return;
      checked(`unmount ${path}`, answer);
    }
    throw internal(`unmount ${path}: it keeps being mounted again`);
  }
}
