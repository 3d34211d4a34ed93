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

/** What mount(2) is called with, but for the place. */
interface FileSystem {
  readonly type: string;
  readonly source: string;
  readonly flags: number;
  readonly options: string;
  /** What relative paths in the options are relative to. */
  readonly directory: string;
}

/**
 * Mounts by descriptor (open_tree(2) and its kin, Linux 5.12): what is mounted is whole before anybody sees it. What a caller
 * names is taken as the caller sees it, and mounted in this process's own namespace: a mount that belongs to none may be
 * attached in any (fs/namespace.c, do_move_mount).
 */
export class MountApi {
  readonly #addon: MountAddon;
  readonly #caller: MountView;

  /** `path`: the addon, built from native/mount-api.c. Throws Unavailable when it cannot be loaded. */
  constructor(path: string, caller: MountView) {
    this.#addon = loadMountAddon(path);
    this.#caller = caller;
  }

  /** What the caller calls `path`; a link there is followed. To be closed. Throws NotFound. */
  find(path: string): Promise<Source> {
    return Source.find(this.#addon, this.#caller, path);
  }

  /** Runs `use` with what the caller calls `path`. Throws NotFound. */
  async withSource<T>(path: string, use: (source: Source) => Promise<T>): Promise<T> {
    const source = await this.find(path);
    try {
      return await use(source);
    } finally {
      source.close();
    }
  }

  /**
   * Detaches a loop device of ours, which is open. False where somebody else has it open: then nobody else gets its number
   * for as long as it is open here.
   */
  async detachLoop(device: number): Promise<boolean> {
    return checked("detach a loop device", await this.#addon.detachLoop(device)) === 1;
  }

  /** Mounts a copy of what the caller calls `source` at `at`, as the options of a bind mount say. Throws NotFound. */
  async bind(source: string, options: readonly string[], at: Place): Promise<void> {
    await this.withSource(source, (found) => found.bind(options, at));
  }

  /**
   * Runs `use` with a new file system, whose source and options are the caller's; it ends with `use` unless it is attached.
   * `scratch`: a directory that the caller sees, too; nothing is left there. Throws FailedPrecondition where the kernel does
   * not take it.
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
   * Runs `use` with a copy of what is mounted at a path of this process's own; it ends with
   * `use` unless it is attached. `recursive`: with all that is mounted below.
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

  /** Takes off all that is mounted at `path`, with all below it, also when it is in use. Idempotent. */
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
