import type { Sys } from "../sys.ts";
import type { Cgroup } from "./cgroup.ts";

/** Reports every increase of `oom_kill` in a cgroup's memory.events. */
export class OomWatch {
  readonly #sys: Sys;
  readonly #cgroup: Cgroup;
  readonly #report: (count: number) => void;
  #fd: number | undefined;
  #count = 0;

  constructor(sys: Sys, cgroup: Cgroup, report: (count: number) => void) {
    this.#sys = sys;
    this.#cgroup = cgroup;
    this.#report = report;
    this.#fd = sys.inotify(`${cgroup.path}/memory.events`, sys.IN_MODIFY);
    const buffer = new Uint8Array(4096);
    sys.watch(this.#fd, { read: true }, () => {
      while (this.#fd !== undefined && sys.read(this.#fd, buffer, 0, buffer.length) > 0);
      this.check();
    });
  }

  /** OOM kills so far. */
  get count(): number {
    return this.#count;
  }

  /** Reads the counter now: the notification may come after the exit that the kill caused. */
  check(): void {
    if (this.#fd === undefined) return;
    const count = this.#cgroup.flag("memory.events", "oom_kill");
    if (count <= this.#count) return;
    this.#count = count;
    this.#report(count);
  }

  close(): void {
    if (this.#fd === undefined) return;
    this.#sys.unwatch(this.#fd);
    this.#sys.close(this.#fd);
    this.#fd = undefined;
  }
}
