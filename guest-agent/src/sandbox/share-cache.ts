import { readText } from "../files.ts";
import { describe, type Log } from "../log.ts";
import type { Sys } from "../sys.ts";

const INTERVAL_MS = 1000;
/** Inodes that the kernel has in memory, of all file systems (Documentation/admin-guide/sysctl/fs.rst). */
const ALL_INODES = "/proc/sys/fs/inode-nr";
/** `name <active> ...` for each kind of object (slabinfo(5)). */
const SLABS = "/proc/slabinfo";
const DROP = "/proc/sys/vm/drop_caches";
/** What is written there (Documentation/admin-guide/sysctl/vm.rst): inodes that nobody uses; with cached content, too. */
const DROPS = ["2", "3"];

/**
 * Keeps the files of the shares that the guest's kernel remembers below a number. The kernel itself only forgets for
 * want of memory, while the host's daemon has each of them open and cannot ask for one back.
 */
export class ShareCache {
  readonly #sys: Sys;
  readonly #log: Log;
  /** Where the next look finds too many: more than the limit when so many are in use. */
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

  /** Looks once a second from now on: the kernel tells nobody when it has learnt of a file. */
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
