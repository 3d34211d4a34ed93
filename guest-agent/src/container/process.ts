import { deferred } from "../../../src/core/deferred.ts";
import { failedPrecondition, notFound } from "../../../src/core/errors.ts";
import { StateMachine } from "../../../src/core/state-machine.ts";
import type { Exit } from "../loop/reaper.ts";
import type { GuestIo, OutputTotals } from "../stdio/guest-io.ts";

type ProcessState = "created" | "starting" | "running" | "stopped";

/** How a process ended, as its waiters learn it. */
interface Ended {
  status: number;
  atUnixNano: bigint;
  oomKilled: boolean;
  /** Bytes written to its output streams until then. */
  output: OutputTotals;
}

/** The init process of a container, or an exec: its state, its streams and its end. */
export class Process {
  readonly machine: StateMachine<ProcessState>;
  readonly #ended = deferred<Ended>();
  #pid: number | undefined;
  #reaped = false;

  constructor(
    /** For messages: `container c1` or `exec e1 of container c1`. */
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
    this.#ended.promise.catch(() => undefined); // nobody may be waiting when it is abandoned
  }

  /** undefined before crun has made it. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** Its process exists (though the program may not have begun) and has not been reaped. */
  get alive(): boolean {
    return this.#pid !== undefined && !this.#reaped && !this.machine.is("stopped");
  }

  /** Its pid is free for others from now on; `finish` follows when its end may be told. */
  reaped(): void {
    this.#reaped = true;
  }

  setPid(pid: number): void {
    this.#pid = pid;
  }

  /** Resolves when it has ended, also long after; rejects with NotFound when it is deleted without having run. */
  wait(): Promise<Ended> {
    return this.#ended.promise;
  }

  /** Records the end and answers all waiters. */
  finish(exit: Exit, oomKilled: boolean): void {
    this.machine.transition("stopped");
    this.#ended.resolve({ ...exit, oomKilled, output: this.io.totals() });
  }

  /** Sets the size of its terminal in characters, also ahead of its start. Throws when it has none. */
  resize(width: number, height: number): void {
    if (!this.io.terminal) throw failedPrecondition(`cannot resize ${this.subject}: it has no terminal`);
    this.io.resize(width, height);
  }

  /** Frees its streams. If it has not ended it will never run, and waiters get NotFound. */
  abandon(): void {
    this.#ended.reject(notFound(`${this.subject}: deleted before it was started`));
    this.io.close();
  }
}
