/** containerd's mounts for the root file system, or the directory that already contains it. */
export interface RootfsSource {
  readonly mounts: readonly {
    readonly type: string;
    readonly source: string;
    readonly target: string;
    readonly options: readonly string[];
  }[];
  /** Absolute path used when there are no mounts. */
  readonly path: string;
  readonly readOnly: boolean;
}

/** A root file system that the guest can mount itself. */
interface RootDisk {
  /** A block device of the host, or with `image` an image file. */
  readonly path: string;
  readonly image: boolean;
  readonly fsType: string;
  readonly readOnly: boolean;
  /** Options of this file system for mount(2). */
  readonly options: readonly string[];
}

/** File systems built into the guest's kernel. */
const GUEST_FILE_SYSTEMS = new Set(["ext4"]);
/** Options of mount(8) that are not passed to the file system. */
const GENERAL = new Set(["loop", "ro", "rw", "defaults"]);

/**
 * Returns containerd's mounts as a disk if they are one file system on a block device (devmapper) or in an
 * image file (blockfile, option `loop`), else undefined. The caller must check what the path is.
 */
export function rootDisk(mounts: RootfsSource["mounts"]): RootDisk | undefined {
  const [only, ...more] = mounts;
  if (!only || more.length > 0 || only.target !== "" || !GUEST_FILE_SYSTEMS.has(only.type)) return undefined;
  return {
    path: only.source,
    image: only.options.includes("loop"),
    fsType: only.type,
    readOnly: only.options.includes("ro"),
    options: only.options.filter((option) => !GENERAL.has(option)),
  };
}
