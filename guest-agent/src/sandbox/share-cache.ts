import { readText } from "../files.ts";
import { describe, type Log } from "../log.ts";
import type { Sys } from "../sys.ts";

const INTERVAL_MS = 1000;
/** The number of inodes in memory, of all file systems (Documentation/admin-guide/sysctl/fs.rst). */
const ALL_INODES = "/proc/sys/fs/inode-nr";
/** `name <active> ...` for each slab cache (slabinfo(5)). */
const SLABS = "/proc/slabinfo";
const DROP = "/proc/sys/vm/drop_caches";
/**
 * Written there in turn (Documentation/admin-guide/sysctl/vm.rst): 2 frees unused inodes, 3 those with cached
 * content, too.
 */
const DROPS = ["2", "3"];

/**
 * Limits the number of shared files that the guest's kernel caches. The kernel itself frees inodes only when
 * it is short of memory, but virtiofsd keeps each of them open and cannot reclaim one.
 */
export class ShareCache {
  readonly #sys: Sys;
  readonly #log: Log;
  /** The number above which the next check frees inodes: higher than the limit if that many are in use. */
  #threshold: number;

  constructor(
    sys: Sys,
    log: Log,
    readonly limit: number,
  ) {
    this.#sys = sys;
    this.#log = log;
    this.#threshold = limit;
  }

  /** Starts to check once a second: the kernel has no event for a new inode. */
  watch(): void {
    this.#sys.setTimer(INTERVAL_MS, () => {
      try {
        this.look();
      } catch (error) {
        this.#log("warn", `files of the shares: ${describe(error)}`);
      }
      this.watch();
    });
  }

  /** Frees inodes if there are too many; logs a warning if that does not help. */
  look(): void {
    const sys = this.#sys;
    // The cheap number first.
    const all = Number.parseInt(readText(sys, ALL_INODES), 10);
    let count = all <= this.#threshold ? all : this.#count();
    if (count <= this.limit) this.#threshold = this.limit;
    for (const how of DROPS) {
      if (count <= this.#threshold) return;
      sys.writeFile(DROP, how, sys.O_WRONLY);
      count = this.#count();
    }
    if (count <= this.#threshold) return;
    this.#threshold = Math.ceil(count * 1.25);
    this.#log("warn", `files of the shares: ${count} are in use, which is more than ${this.limit}`);
  }

  #count(): number {
    return Number(/^fuse_inode +(\d+)/m.exec(readText(this.#sys, SLABS))?.[1] ?? 0);
  }
}
