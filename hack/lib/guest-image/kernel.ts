import type { Entry } from "./cpio.ts";

/** A kernel for the guest. */
export interface Kernel {
  /** Changes when anything that it is made of does. */
  readonly key: string;
  /** Of the Debian package that it comes from. */
  readonly version: string;
  /** As `uname -r` prints it. */
  readonly release: string;
  /** An ELF file with a PVH entry. */
  vmlinux(): Buffer;
  /** What the initrd needs for it; `work` is a scratch directory. */
  entries(work: string): Entry[];
}
