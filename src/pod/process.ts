import type { GuestExit, SignalRequest, TerminalSize } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { notFound } from "../core/errors.ts";
import { KILLED_STATUS } from "../core/exit-status.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { StateMachine, type TransitionTable } from "../core/state-machine.ts";
import type { ProcessIo } from "./stdio.ts";

export type { ProcessRef, SignalRequest } from "../agent/guest-agent.ts";

/** State of a process. */
export type ProcessState = "created" | "running" | "pausing" | "paused" | "stopped" | "deleted";

/** The allowed changes of state. Only a container's init process can be pausing or paused. */
export const PROCESS_TRANSITIONS: TransitionTable<ProcessState> = {
  created: ["running", "stopped", "deleted"],
  running: ["pausing", "stopped"],
  pausing: ["paused", "running", "stopped"],
  paused: ["running", "stopped"],
  stopped: ["deleted"],
  deleted: [],
};

/** How a process ended. */
export interface Exit {
  /** The exit code, or 128 + the number of the signal that killed the process. */
  readonly status: number;
  readonly at: Date;
}

/** What runs a process: the guest or, for a pod's pause container, nothing. */
export interface ProcessRunner {
  start(deadline: Deadline): Promise<void>;
  /** Resolves when the process has ended. Rejects if the VM is gone, and its exit with it. */
  wait(): Promise<GuestExit>;
  signal(request: SignalRequest, deadline: Deadline): Promise<void>;
  resize(size: TerminalSize, deadline: Deadline): Promise<void>;
  delete(deadline: Deadline): Promise<void>;
}

/** What a process reports to its container. */
interface ProcessHooks {
  started(): void;
  /**
   * Awaited before the exit becomes visible: the init process waits here for its execs. `ended` is undefined if the VM
   * was lost.
   */
  beforeExit(ended: GuestExit | undefined): Promise<void>;
  exited(exit: Exit): void;
}

/** How long an exit is delayed by output that is not read. */
const DRAIN_LIMIT_MS = 2_000;

/** One process of a container: its state, streams and exit. */
export class Process {
  readonly machine: StateMachine<ProcessState>;
  readonly #exited = deferred<Exit>();
  #exit: Exit | undefined;
  #starting: Promise<unknown> = Promise.resolve();
  #isStarting = false;
  #followed = false;
  readonly #queue = new SerialQueue();

  constructor(
    readonly subject: string,
    readonly io: ProcessIo,
    readonly runner: ProcessRunner,
    readonly hooks: ProcessHooks,
  ) {
    this.machine = new StateMachine(subject, PROCESS_TRANSITIONS, "created");
  }

  /** Set once the process has stopped. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Resolves when the process has stopped and its output has been delivered. Never rejects. */
  get exited(): Promise<Exit> {
    return this.#exited.promise;
  }

  get alive(): boolean {
    return !this.machine.is("stopped", "deleted");
  }

  /** Whether its start is pending in the guest. Its exit is reported only after the guest's answer. */
  get starting(): boolean {
    return this.#isStarting;
  }

  /** Starts to wait for the exit, once. Called as soon as the process exists in the guest. */
  follow(): void {
    if (this.#followed) return;
    this.#followed = true;
    const end = async () => {
      const ended = await this.runner.wait().catch(() => undefined); // the VM is gone, and this process with it
      await this.#finish(ended);
    };
    end().catch((error) => this.#exited.reject(error));
  }

  /** Starts a created process. A second Start or a deletion waits until it has finished. */
  start(deadline: Deadline): Promise<void> {
    return this.exclusively(async () => {
      this.machine.require("start", "created");
      this.#isStarting = true;
      const starting = this.runner.start(deadline).finally(() => {
        this.#isStarting = false;
      });
      this.#starting = starting.then(
        () => {
          this.machine.transition("running");
          this.hooks.started();
        },
        () => undefined,
      );
      await starting;
      await this.#starting;
    }, deadline);
  }

  /** Runs a change of the process after the previous one. Rejects if the deadline ends first. */
  exclusively<T>(change: () => Promise<T>, deadline: Deadline): Promise<T> {
    const turn = this.#queue.run(async () => {
      deadline.check(); // the caller no longer waits
      return await change();
    });
    return deadline.race(turn);
  }

  /** Resolves when every change that was requested before has finished. Rejects if the deadline ends first. */
  settled(deadline: Deadline): Promise<void> {
    return this.exclusively(async () => undefined, deadline);
  }

  /** Signals the process. Throws NotFound if it has ended, as containerd expects of a late Kill. */
  async signal(request: SignalRequest, deadline: Deadline): Promise<void> {
    if (!this.alive) throw notFound(`${this.subject}: process already finished`);
    await this.runner.signal(request, deadline);
  }

  /** Marks an exec that was never started as ended. */
  abandon(): void {
    this.#followed = true;
    this.#exit = { status: 0, at: new Date(0) };
    this.#exited.resolve(this.#exit);
  }

  /** What it is doing, for the state dump. */
  describe(): Snapshot {
    return {
      state: this.machine.state,
      ...(this.#isStarting && { starting: true }),
      ...(this.#exit && { exit: this.#exit.status }),
      queue: this.#queue.describe(),
      io: this.io.describe(),
    };
  }

  async #finish(ended: GuestExit | undefined): Promise<void> {
    const exit: Exit = { status: ended?.status ?? KILLED_STATUS, at: ended?.at ?? new Date() };
    await this.#starting;
    // A stalled reader must not keep the exit from being reported.
    await Deadline.within(DRAIN_LIMIT_MS, `${this.subject}: delivering the last output`, (limit) =>
      this.io.drained(limit, ended?.output),
    ).catch(() => undefined);
    await this.hooks.beforeExit(ended);
    if (!this.machine.is("stopped", "deleted")) this.machine.transition("stopped");
    this.#exit = exit;
    this.hooks.exited(exit);
    this.#exited.resolve(exit);
  }
}
