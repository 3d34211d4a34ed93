import { SIGCHLD, type Sys } from "../sys.ts";

/** How and when a process exited. */
export interface Exit {
  /** The exit code, or 128 + the number of the signal that killed it. */
  status: number;
  /** Wall clock, nanoseconds since the epoch. */
  atUnixNano: bigint;
}

type Listener = (exit: Exit) => void;

/**
 * The only caller of wait(2). As PID 1 the agent is the parent of every orphan, so of every container
 * process. Exits go to the watcher of the PID. A caller that gets a PID only later (from crun's PID file)
 * takes a `hold` first: while it lasts, exits without a watcher are kept.
 */
export class Reaper {
  readonly #sys: Pick<Sys, "onSignal" | "waitpid">;
  readonly #listeners = new Map<number, Listener>();
  readonly #unclaimed = new Map<number, Exit>();
  #holds = 0;

  constructor(sys: Pick<Sys, "onSignal" | "waitpid">) {
    this.#sys = sys;
  }

  /** Starts to reap. */
  start(): void {
    this.#sys.onSignal(SIGCHLD, () => this.reap());
    this.reap();
  }

  /** Calls `listener` once `pid`, a child of this process, has exited (at once for a kept exit). */
  watch(pid: number, listener: Listener): void {
    if (this.#listeners.has(pid)) throw new Error(`process ${pid} is already watched`);
    const kept = this.#unclaimed.get(pid);
    if (kept) {
      this.#unclaimed.delete(pid);
      listener(kept);
    } else {
      this.#listeners.set(pid, listener);
    }
  }

  /** Keeps exits without a watcher until the returned function is called. */
  hold(): () => void {
    this.#holds++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds--;
      if (this.#holds === 0) this.#unclaimed.clear();
    };
  }

  /** Reaps every child that has exited. */
  reap(): void {
    for (let ended = this.#sys.waitpid(-1); ended; ended = this.#sys.waitpid(-1)) {
      const exit: Exit = {
        status: ended.signal > 0 ? 128 + ended.signal : ended.code,
        atUnixNano: BigInt(Date.now()) * 1_000_000n,
      };
      const listener = this.#listeners.get(ended.pid);
      if (listener) {
        this.#listeners.delete(ended.pid);
        listener(exit);
      } else if (this.#holds > 0) {
        this.#unclaimed.set(ended.pid, exit);
      }
    }
  }
}
