import type { Entry } from "./cpio.ts";

/** A kernel for the guest. */
export interface Kernel {
  /** Changes whenever an input changes. */
  readonly key: string;
  /** The version of its Debian package. */
  readonly version: string;
  /** What `uname -r` prints. */
  readonly release: string;
  /** Returns an ELF file with a PVH entry. */
  vmlinux(): Buffer;
  /** Returns its entries for the initrd. `work` is a scratch directory. */
  entries(work: string): Entry[];
  /** Returns the files of the directory of modules that are loaded on demand. */
  modulesOnDemand(work: string): ReadonlyMap<string, string | Buffer>;
}
