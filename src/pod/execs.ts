import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { alreadyExists, notFound } from "../core/errors.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { GuestExec } from "./guest-process.ts";
import type { PodEvent } from "./pod-event.ts";
import { type Exit, Process } from "./process.ts";
import type { ProcessIo, StdioPaths } from "./stdio.ts";

/** How long a container's exit waits for the exits of its execs, which the agent has killed by then. */
const END_LIMIT_MS = 5_000;

/** A process that was added to a running container. */
interface Exec {
  readonly id: string;
  readonly stdio: StdioPaths;
  readonly process: Process;
}

/** The execs of one container. */
export class Execs {
  readonly #execs = new Map<string, Exec>();

  constructor(
    readonly containerId: string,
    /** The PID reported for every task of the pod: the VMM's. */
    readonly pid: number,
    readonly publish: (event: PodEvent) => void,
  ) {}

  /** Returns an exec. Throws NotFound. */
  get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (!exec) throw notFound(`exec ${id} of container ${this.containerId} does not exist`);
    return exec;
  }

  /** Registers an exec; nothing exists in the guest before its start. Throws AlreadyExists. */
  add(agent: GuestAgent, id: string, process: object, stdio: StdioPaths, io: ProcessIo): void {
    const { containerId, pid, publish } = this;
    if (this.#execs.has(id)) throw alreadyExists(`exec ${id} of container ${containerId} already exists`);
    const subject = `exec ${id} of container ${containerId}`;
    const runner = new GuestExec(agent, { containerId, execId: id }, process, io, () =>
      exec.process.follow(),
    );
    const exec: Exec = {
      id,
      stdio,
      process: new Process(subject, io, runner, {
        started: () => publish({ kind: "exec-started", containerId, execId: id, pid }),
        beforeExit: async () => undefined,
        exited: (exit) => publish({ kind: "exit", containerId, execId: id, pid, exit }),
      }),
    };
    this.#execs.set(id, exec);
    publish({ kind: "exec-added", containerId, execId: id });
  }

  /** Deletes an exec that has stopped or was never started, in the guest by `deleteInGuest`. Throws NotFound. */
  async delete(
    id: string,
    deleteInGuest: (process: Process) => Promise<void>,
    deadline: Deadline,
  ): Promise<Exit> {
    const { process } = this.get(id);
    return await process.exclusively(async () => {
      if (process.machine.is("deleted")) throw notFound(`${process.subject} was deleted`);
      process.machine.require("delete", "created", "stopped");
      await deleteInGuest(process);
      if (process.machine.is("created")) process.abandon();
      process.machine.transition("deleted");
      await process.io.close();
      this.#execs.delete(id);
      // As in runc's shim there is no event: most subscribers take any TaskDelete to be the container's.
      return await process.exited;
    }, deadline);
  }

  /** Resolves when the running execs have ended: their exits are published before the container's. Never rejects. */
  async ended(): Promise<void> {
    const running = [...this.#execs.values()].filter(({ process }) => process.machine.is("running"));
    // A guest that does not report an exec's exit must not block the container's.
    await Deadline.within(END_LIMIT_MS, `container ${this.containerId}: the end of its execs`, (limit) =>
      limit.race(Promise.all(running.map(({ process }) => process.exited))),
    ).catch(() => undefined);
  }

  /** Marks the execs that were never started as ended. */
  abandon(): void {
    for (const { process } of this.#execs.values()) if (process.machine.is("created")) process.abandon();
  }

  /** What each is doing, for the state dump. */
  describe(): Snapshot[] {
    return [...this.#execs.values()].map(({ id, process }) => ({ id, ...process.describe() }));
  }

  /** Closes the streams of every exec. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#execs.values()].map(({ process }) => process.io.close()));
  }
}
