import { failedPrecondition, HullError } from "../../../src/core/errors.ts";
import { readText } from "../files.ts";
import { within } from "../loop/timeout.ts";
import { allowing, errnoName, type Sys } from "../sys.ts";

const STAT_FILE = /^(cgroup|cpu|cpuset|memory|io|pids|hugetlb|rdma|misc)\.[a-zA-Z0-9_.]+$/;
/**
 * The files that metrics come from: counters, gauges and limits. Reading all 66 files would take three times
 * as long.
 */
const METRIC_FILE =
  /^(cpu|memory|io|pids|cpuset|hugetlb\.\w+|rdma|misc)\.(swap\.)?(stat|current|peak|max|high|low|min|events|pressure|weight)$|^cgroup\.stat$/;
const MAX_STAT_BYTES = 64 << 10;
const FREEZE_TIMEOUT_MS = 10_000;
const REMOVE_TIMEOUT_MS = 5_000;
const REMOVE_RETRY_MS = 10;

/**
 * A container's cgroup (kernel documentation, admin-guide/cgroup-v2). crun creates it, `remove` deletes it.
 */
export class Cgroup {
  readonly #sys: Sys;

  constructor(
    sys: Sys,
    /** Below /sys/fs/cgroup, absolute. */
    readonly path: string,
  ) {
    this.#sys = sys;
  }

  /** The PIDs of all processes in it and its descendants. Empty if it does not exist. */
  pids(): number[] {
    return this.#directories().flatMap((directory) => {
      const text = this.#read(`${directory}/cgroup.procs`) ?? "";
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map(Number);
    });
  }

  /** Sends SIGKILL to every process in it and its descendants, atomically. */
  kill(): void {
    allowing(["ENOENT", "ENODEV"], () => this.#write("cgroup.kill", "1"));
  }

  /** Freezes or thaws it; resolves when the kernel reports completion. Thaws it again if freezing fails. */
  async freeze(frozen: boolean): Promise<void> {
    const step = frozen ? "freeze" : "thaw";
    try {
      this.#write("cgroup.freeze", frozen ? "1" : "0");
      await this.#event("frozen", frozen ? 1 : 0, FREEZE_TIMEOUT_MS, step);
    } catch (error) {
      if (frozen) allowing(["ENOENT", "ENODEV"], () => this.#write("cgroup.freeze", "0"));
      throw HullError.wrap(`cgroup ${this.path}: ${step}`, error, "Internal");
    }
  }

  /**
   * Resolves when no process is left in it or its descendants, or it does not exist. Rejects with
   * DeadlineExceeded.
   */
  async empty(timeoutMs: number): Promise<void> {
    if (this.flag("cgroup.events", "populated") !== 0)
      await this.#event("populated", 0, timeoutMs, "emptying");
  }

  /** Resolves when a key of cgroup.events has the value; the kernel reports changes through inotify. */
  async #event(key: string, value: number, timeoutMs: number, step: string): Promise<void> {
    const sys = this.#sys;
    const watch = sys.inotify(`${this.path}/cgroup.events`, sys.IN_MODIFY);
    try {
      const done = new Promise<void>((resolve, reject) => {
        const buffer = new Uint8Array(4096);
        const look = (): void => {
          try {
            while (sys.read(watch, buffer, 0, buffer.length) > 0);
            if (this.flag("cgroup.events", key) === value) resolve();
          } catch (error) {
            reject(error);
          }
        };
        sys.watch(watch, { read: true }, look);
        look();
      });
      await within(sys, timeoutMs, step, done);
    } finally {
      sys.unwatch(watch);
      sys.close(watch);
    }
  }

  /** A number of a flat-keyed file such as `memory.events`; 0 if the file or the key is missing. */
  flag(file: string, key: string): number {
    const text = this.#read(`${this.path}/${file}`) ?? "";
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${key} `));
    return line ? Number(line.slice(key.length + 1)) : 0;
  }

  /** The content of the files that metrics come from, by file name. */
  stats(): Record<string, string> {
    const files: Record<string, string> = {};
    for (const name of this.#list(this.path)) {
      if (!METRIC_FILE.test(name)) continue;
      const text = this.#read(`${this.path}/${name}`);
      if (text !== undefined) files[name] = text;
    }
    return files;
  }

  /**
   * Kills what is left in it and removes it with its descendants. Rejects with FailedPrecondition if
   * processes do not exit.
   */
  async remove(): Promise<void> {
    this.kill();
    const end = this.#sys.monotonicMs() + REMOVE_TIMEOUT_MS;
    for (;;) {
      try {
        for (const directory of this.#directories().reverse())
          allowing(["ENOENT"], () => this.#sys.rmdir(directory));
        return;
      } catch (error) {
        // Killed processes leave the cgroup with a delay.
        if (errnoName(error) !== "EBUSY") throw HullError.from(error, "Internal");
        if (this.#sys.monotonicMs() > end) {
          throw failedPrecondition(`cgroup ${this.path}: processes ${this.pids().join(" ")} do not exit`);
        }
        await new Promise<void>((resolve) => this.#sys.setTimer(REMOVE_RETRY_MS, resolve));
      }
    }
  }

  /** The directories of this cgroup and its descendants, parents first. */
  #directories(): string[] {
    const found: string[] = [];
    const visit = (directory: string): void => {
      const names = this.#list(directory);
      if (names.length === 0) return;
      found.push(directory);
      // Control files start with a known prefix and a dot; a child cgroup is a directory with its own
      // cgroup.procs.
      for (const name of names) {
        if (STAT_FILE.test(name)) continue;
        if (this.#exists(`${directory}/${name}/cgroup.procs`)) visit(`${directory}/${name}`);
      }
    };
    visit(this.path);
    return found;
  }

  #list(directory: string): string[] {
    let names: string[] = [];
    allowing(["ENOENT", "ENODEV", "ENOTDIR"], () => {
      names = this.#sys.readdir(directory);
    });
    return names;
  }

  #exists(path: string): boolean {
    try {
      this.#sys.stat(path);
      return true;
    } catch {
      return false;
    }
  }

  /** undefined if the file is missing, write-only or too large, or its controller is absent. */
  #read(path: string): string | undefined {
    try {
      return readText(this.#sys, path, MAX_STAT_BYTES);
    } catch (error) {
      if (errnoName(error) === undefined) throw error;
      return undefined;
    }
  }

  #write(file: string, value: string): void {
    this.#sys.writeFile(`${this.path}/${file}`, value, this.#sys.O_WRONLY);
  }
}
