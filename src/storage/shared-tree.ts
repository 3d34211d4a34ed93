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

/** Where the guest mounts the share. */
export const GUEST_SHARE = "/run/hull/shared";
/** The virtio-fs tag of the share. */
export const SHARE_TAG = "hull";

/** A path of the host that the guest sees until it is released. */
export interface SharedPath {
  readonly guestPath: string;
  /** Unmounts and removes it unless others use it. Idempotent; can be repeated after a failure. */
  release(deadline: Deadline): Promise<void>;
}

/** A mount in the tree and the number of its users. */
interface Entry {
  readonly name: string;
  readonly mounted: Promise<void>;
  users: number;
}

/**
 * What a pod's guest sees of the host. The shim works in `tree`, which nothing else sees. virtiofsd serves
 * `export`, a bind of it: read-only at the top, so that the guest cannot create names there, and a slave of
 * it, so that mounts in `tree` propagate with their flags into virtiofsd's namespace (mount_namespaces(7)). A
 * mount is complete before it is attached, because flags that are set later do not propagate. Names are
 * random. Containers of the pod that ask for the same host path share one mount: what one writes, unlinks,
 * locks or maps, the others see at once, as on one machine. All mounts are in the shim's mount namespace;
 * host paths are those of containerd's (MountApi).
 */
export class SharedTree {
  readonly #directory: string;
  readonly #mounts: MountApi;
  /** By identity: after a rename the same path may be another file, or it may have other mounts inside. */
  readonly #binds = new Map<string, Entry>();

  private constructor(directory: string, mounts: MountApi) {
    this.#directory = directory;
    this.#mounts = mounts;
  }

  /** Creates the trees in `directory`, which must not exist. On failure it leaves nothing. */
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
   * Bind-mounts a file or directory of the host, and waits until the deadline if its file server does not
   * answer. Throws NotFound.
   */
  async addBind(source: string, options: readonly string[], deadline: Deadline): Promise<SharedPath> {
    const finding = this.#mounts.find(source);
    const found = await deadline.race(finding).catch((error: unknown) => {
      void finding.then((late) => late.close()).catch(() => undefined); // otherwise handled below
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
      // A repeated release must not forget what others have mounted since.
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

  /**
   * Mounts the directory as private, so that nothing propagates out of it; in it `tree` as shared, and
   * `export` as its slave.
   */
  async #build(): Promise<void> {
    const at = (directory: string) => ({ directory, path: "" });
    await this.#mounts.withClone(this.#directory, false, async (mount) => {
      await mount.change({ propagation: "private" });
      await mount.attach(at(this.#directory));
      await mount.change({ propagation: "private" }); // attaching below a shared mount made it shared
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

  /** Adds the caller to the entry's users; `forget` is called when the last one releases it. */
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
      throw await undo(thrown, release); // what is left is removed with the tree
    }
    return { guestPath: `${GUEST_SHARE}/${entry.name}`, release };
  }

  async #leave({ name, mounted }: Entry): Promise<void> {
    const at = join(this.#tree, name);
    await mounted.catch(() => undefined); // its users got the error; what exists is removed
    await this.#mounts.unmount(at);
    // Never recursively: it is empty, or it has somebody's files.
    await rmdir(at)
      .catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOTDIR") throw error;
        return unlink(at);
      })
      .catch(ignoring("ENOENT"));
  }

  /** Mounts a list in a private place, then attaches all of it at once. */
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

/** Returns a key that is equal for sources whose binds would be the same. */
async function identity(source: Source, options: readonly string[]) {
  const { kind, dev, ino } = await source.stat();
  const directory = kind === "directory";
  const mounts = await source.mountIds(directory && options.includes("rbind"));
  return { key: JSON.stringify([source.path, `${dev}:${ino}`, mounts, options]), directory };
}

/**
 * The guest opens device nodes in its own kernel: a compromised virtiofsd could create any, but cannot open
 * host devices here. The mounts in the guest have flags of their own.
 */
const NO_RIGHTS_OF_BINDS = ["rnodev", "rnosuid"] as const;

function withoutRights(mount: MountSpec): MountSpec {
  return {
    ...mount,
    options: [...mount.options, ...(isBind(mount) ? NO_RIGHTS_OF_BINDS : ["nodev", "nosuid"])],
  };
}
