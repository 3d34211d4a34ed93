import { stat } from "node:fs/promises";
import { HullError } from "../core/errors.ts";
import type { RootfsSource } from "./sandbox.ts";

/** A root file system that the guest can mount itself. */
export interface RootDisk {
  /** A block device or an image file of the host. */
  readonly path: string;
  readonly fsType: string;
  readonly readOnly: boolean;
  /** Options of this file system for mount(2). */
  readonly options: readonly string[];
}

/** File systems that the guest's kernel has built in. */
const GUEST_FILE_SYSTEMS = new Set(["ext4"]);
/** Options of mount(8) that say nothing of the file system. */
const GENERAL = new Set(["loop", "ro", "rw", "defaults"]);

/**
 * containerd's mounts as a disk: where they are a single file system on a block device (devmapper snapshotter) or in an
 * image file (blockfile snapshotter, option `loop`). undefined for all others. Throws NotFound.
 */
export async function rootDisk(mounts: RootfsSource["mounts"]): Promise<RootDisk | undefined> {
  const [only, ...more] = mounts;
  if (!only || more.length > 0 || only.target !== "" || !GUEST_FILE_SYSTEMS.has(only.type)) return undefined;
  const found = await stat(only.source).catch((error: unknown) => {
    throw HullError.ofCallersPath(`root file system ${only.source}`, error);
  });
  if (!found.isBlockDevice() && !(found.isFile() && only.options.includes("loop"))) return undefined;
  return {
    path: only.source,
    fsType: only.type,
    readOnly: only.options.includes("ro"),
    options: only.options.filter((option) => !GENERAL.has(option)),
  };
}
