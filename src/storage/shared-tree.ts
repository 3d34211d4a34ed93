import { randomBytes } from "node:crypto";
import { mkdir, open, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError, ignoring } from "../core/errors.ts";
import { undo } from "../core/undo.ts";
import type { Place } from "../host/detached-mount.ts";
import type { MountSpec } from "../host/mount.ts";
import type { MountApi } from "../host/mount-api.ts";
import { NO_RIGHTS, READ_ONLY } from "../host/mount-attributes.ts";
import { isBind, mountAll, mountOne } from "../host/mount-list.ts";
import { removeTree } from "../host/remove-tree.ts";
import type { Source } from "../host/source.ts";
import { PLACEHOLDER } from "./bound-file.ts";

/** Where the guest mounts the share, and the share's virtio-fs tag. */
export const GUEST_SHARE = "/run/hull/shared";
export const SHARE_TAG = "hull";

/** Something of the host that the guest sees, until it is released. */
export interface SharedPath {
  readonly guestPath: string;
  /** Unmounts and removes it, unless somebody else has it, too. Idempotent; after a failure it can be tried again. */
  release(deadline: Deadline): Promise<void>;
}

/** A mount in the tree, and how many have it. */
interface Entry {
  readonly name: string;
  readonly mounted: Promise<void>;
  users: number;
}

/**
 * What a pod's guest sees of the host. The shim works in `tree`, which nobody else gets to see. virtiofsd serves `export`,
 * a bind of it: read-only at its top, so that the guest can make no name there, and its slave, so that what is
 * mounted in `tree` shows with its own flags and goes on into virtiofsd's namespace (mount_namespaces(7)). A mount is whole
 * before it is attached: flags that are set later stay behind in `tree`. Names are random. Host paths are mounted once for
 * all containers of the pod that ask for the same: what one of them writes, unlinks, locks or maps, the others see at once,
 * as on one machine. All mounts live in the shim's mount namespace; host paths are containerd's (MountApi).
 */
export class SharedTree {
  readonly #directory: string;
  readonly #mounts: MountApi;
  /** By what they are: the same path may name another file after a rename, or have more mounted in it. */
  readonly #binds = new Map<string, Entry>();

  private constructor(directory: string, mounts: MountApi) {
    this.#directory = directory;
    this.#mounts = mounts;
  }

  /** Makes the trees in `directory`, which must not exist. On failure nothing is left. */
  static async create(directory: string, mounts: MountApi, deadline: Deadline): Promise<SharedTree> {
    deadline.check();
    const shared = new SharedTree(directory, mounts);
    await mkdir(directory, { mode: 0o700 });
    try {
      await shared.#build();
    } catch (thrown) {
      throw HullError.wrap(`share ${directory}`, await undo(thrown, (by) => shared.dispose(by)));
    }
    return shared;
  }

  /** The directory for virtiofsd to serve. */
  get exported(): string {
    return join(this.#directory, "export");
  }

  get #tree(): string {
    return join(this.#directory, "tree");
  }

  get #stage(): string {
    return join(this.#directory, "stage");
  }

  /** Mounts a container's root file system. */
  async addRootfs(mounts: readonly MountSpec[], deadline: Deadline): Promise<SharedPath> {
    const [only, more] = mounts;
    const entry = this.#enter(true, (at) =>
      only && !more && only.target === ""
        ? mountOne(withoutRights(only), at, this.#stage, this.#mounts, deadline)
        : this.#assemble(mounts, at, deadline),
    );
    return await this.#hold(entry, deadline);
  }

  /**
   * Bind-mounts a file or directory of the host. One whose server does not answer is waited for until the deadline. Throws
   * NotFound.
   */
  async addBind(source: string, options: readonly string[], deadline: Deadline): Promise<SharedPath> {
    const finding = this.#mounts.find(source);
    const found = await deadline.race(finding).catch((error: unknown) => {
      void finding.then((late) => late.close()).catch(() => undefined); // told below, if it is not too late
      throw error;
    });
    let shared: Promise<unknown> = Promise.resolve();
    try {
      const { key, directory } = await deadline.race(identity(found, options));
      const known = this.#binds.get(key);
      const entry =
        known ?? this.#enter(directory, (at) => found.bind([...options, ...NO_RIGHTS_OF_BINDS], at));
      shared = entry.mounted;
      this.#binds.set(key, entry);
      // A release that is tried again must not forget what has been mounted for others since.
      const forget = () => void (this.#binds.get(key) === entry && this.#binds.delete(key));
      return await this.#hold(entry, deadline, forget);
    } finally {
      void shared.catch(() => undefined).then(() => found.close());
    }
  }

  /** Unmounts and removes everything. Idempotent. */
  async dispose(deadline: Deadline): Promise<void> {
    await deadline.race(this.#mounts.unmount(this.#directory));
    await removeTree(this.#directory, deadline);
  }

  /** Private, so that nothing of it shows elsewhere; in it the host's tree, and as its slave the export. */
  async #build(): Promise<void> {
    const at = (directory: string) => ({ directory, path: "" });
    await this.#mounts.withClone(this.#directory, false, async (mount) => {
      await mount.change({ propagation: "private" });
      await mount.attach(at(this.#directory));
      await mount.change({ propagation: "private" }); // below a shared mount it became shared
    });
    for (const path of [this.#tree, this.exported, this.#stage]) await mkdir(path, { mode: 0o700 });
    await this.#mounts.withClone(this.#tree, false, async (mount) => {
      await mount.attach(at(this.#tree));
      await mount.change({ propagation: "shared" });
    });
    await this.#mounts.withClone(this.#tree, false, async (mount) => {
      await mount.change({ set: READ_ONLY | NO_RIGHTS, propagation: "slave" });
      await mount.attach(at(this.exported));
      await mount.change({ propagation: "shared" });
    });
  }

  #enter(directory: boolean, mount: (at: Place) => Promise<void>): Entry {
    const name = randomBytes(16).toString("hex");
    const at = { directory: this.#tree, path: name };
    const path = join(this.#tree, name);
    const make = async () => {
      if (directory) await mkdir(path, { mode: 0o700 });
      else await (await open(path, PLACEHOLDER, 0o600)).close();
      await mount(at);
    };
    return { name, mounted: make(), users: 0 };
  }

  /** Makes the caller one of those that have the entry; `forget` is called when nobody has it any more. */
  async #hold(entry: Entry, deadline: Deadline, forget: () => void = () => undefined): Promise<SharedPath> {
    let held = true;
    entry.users++;
    const release = async (by: Deadline) => {
      if (held) entry.users--;
      held = false;
      if (entry.users > 0) return;
      forget();
      await by.race(this.#leave(entry));
    };
    try {
      await deadline.race(entry.mounted);
    } catch (thrown) {
      throw await undo(thrown, release); // what is left goes with the tree
    }
    return { guestPath: `${GUEST_SHARE}/${entry.name}`, release };
  }

  async #leave({ name, mounted }: Entry): Promise<void> {
    const at = join(this.#tree, name);
    await mounted.catch(() => undefined); // told to those that asked for it; what there is of it goes
    await this.#mounts.unmount(at);
    // Never recursively: what is there is empty, or it is somebody's.
    await rmdir(at)
      .catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOTDIR") throw error;
        return unlink(at);
      })
      .catch(ignoring("ENOENT"));
  }

  /** Mounts a list where nobody sees it, then all of it at once at `at`. */
  async #assemble(mounts: readonly MountSpec[], at: Place, deadline: Deadline): Promise<void> {
    const stage = join(this.#stage, randomBytes(16).toString("hex"));
    await mkdir(stage, { mode: 0o700 });
    try {
      await mountAll(mounts, stage, this.#mounts, deadline);
      await this.#mounts.withClone(stage, true, async (mount) => {
        await mount.change({ set: NO_RIGHTS }, true);
        await mount.attach(at);
      });
    } finally {
      await this.#mounts.unmount(stage);
      await rmdir(stage);
    }
  }
}

/** What a copy of a source would be: of two that are the same one is enough. */
async function identity(source: Source, options: readonly string[]) {
  const { kind, dev, ino } = await source.stat();
  const directory = kind === "directory";
  const mounts = await source.mountIds(directory && options.includes("rbind"));
  return { key: JSON.stringify([source.path, `${dev}:${ino}`, mounts, options]), directory };
}

/**
 * Device nodes are the guest's to open, in its own kernel: a virtiofsd that was taken over, which may make any, opens none of
 * the host's there. The guest's mounts have flags of their own.
 */
const NO_RIGHTS_OF_BINDS = ["rnodev", "rnosuid"] as const;

function withoutRights(mount: MountSpec): MountSpec {
  return {
    ...mount,
    options: [...mount.options, ...(isBind(mount) ? NO_RIGHTS_OF_BINDS : ["nodev", "nosuid"])],
  };
}
