import { deferred } from "../../../src/core/deferred.ts";
import { failedPrecondition, notFound } from "../../../src/core/errors.ts";
import { StateMachine } from "../../../src/core/state-machine.ts";
import type { Exit } from "../loop/reaper.ts";
import type { GuestIo, OutputTotals } from "../stdio/guest-io.ts";

type ProcessState = "created" | "starting" | "running" | "stopped";

/** How a process exited, as its waiters get it. */
interface Ended {
  status: number;
  atUnixNano: bigint;
  oomKilled: boolean;
  /** Bytes written to its output streams. */
  output: OutputTotals;
}

/** The init of a container, or an exec: its state, streams and exit. */
export class Process {
  readonly machine: StateMachine<ProcessState>;
  readonly #ended = deferred<Ended>();
  #pid: number | undefined;
  #reaped = false;

  constructor(
    /** For error messages: `container c1` or `exec e1 of container c1`. */
    readonly subject: string,
    readonly io: GuestIo,
  ) {
    this.machine = new StateMachine<ProcessState>(
      subject,
      {
        created: ["starting", "running", "stopped"],
        starting: ["running", "stopped"],
        running: ["stopped"],
        stopped: [],
      },
      "created",
    );
    this.#ended.promise.catch(() => undefined); // there may be no waiter when it is abandoned
  }

  /** undefined until crun has created it. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** Whether it exists (its program need not have started) and has not been reaped. */
  get alive(): boolean {
    return this.#pid !== undefined && !this.#reaped && !this.machine.is("stopped");
  }

  /** Marks its PID as free for reuse; `finish` follows when its exit may be reported. */
  reaped(): void {
    this.#reaped = true;
  }

  setPid(pid: number): void {
    this.#pid = pid;
  }

  /**
   * Resolves with its exit, at once if it has exited; rejects with NotFound if it is deleted before it was
   * started.
   */
  wait(): Promise<Ended> {
    return this.#ended.promise;
  }

  /** Records its exit and answers all waiters. */
  finish(exit: Exit, oomKilled: boolean): void {
    this.machine.transition("stopped");
    this.#ended.resolve({ ...exit, oomKilled, output: this.io.totals() });
  }

  /**
   * Sets the size of its terminal in characters; works before start, too. Throws FailedPrecondition without a
   * terminal.
   */
  resize(width: number, height: number): void {
    if (!this.io.terminal) throw failedPrecondition(`cannot resize ${this.subject}: it has no terminal`);
    this.io.resize(width, height);
  }

  /** Releases its streams. If it has not exited, it will never run, and waiters get NotFound. */
  abandon(): void {
    this.#ended.reject(notFound(`${this.subject}: deleted before it was started`));
    this.io.close();
  }
}
