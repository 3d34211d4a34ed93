import type { GuestAgent, GuestStats, SignalRequest, TerminalSize } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, notFound, unavailable } from "../core/errors.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { undo } from "../core/undo.ts";
import { guestResources } from "../oci/guest-resources.ts";
import type { OciResources } from "../oci/spec.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { ContainerStats } from "./container-stats.ts";
import { Execs } from "./execs.ts";
import { type ContainerSource, type CreationLog, GuestContainer } from "./guest-container.ts";
import { ignoreGone } from "./guest-process.ts";
import type { ContainerHooks } from "./hooks.ts";
import { OomEvents } from "./oom-events.ts";
import { PauseProcess } from "./pause-process.ts";
import type { PodEvent } from "./pod-event.ts";
import { type Exit, Process, type ProcessState } from "./process.ts";
import { SIGKILL, Sigkill, type SigkillOptions } from "./sigkill.ts";
import type { ProcessIo, StdioPaths } from "./stdio.ts";
import { whileAnswering } from "./while-answering.ts";

export type { GuestStats } from "../agent/guest-agent.ts";

/** How long the deletion of an ended container may fail in the guest before SIGKILL kills the VM. */
const UNDELETED_LIMIT_MS = 30_000;

/** A container's properties, its streams and the VM that it runs in. */
interface ContainerOptions {
  readonly id: string;
  readonly bundle: string;
  readonly stdio: StdioPaths;
  /** Owned by the container, which closes it in `abandon` or `dispose`. */
  readonly io: ProcessIo;
  readonly sandbox: Sandbox;
  /** Whether it is the pod's pause container, which has nothing in the guest and nothing on the host. */
  readonly pause: boolean;
  /** Whether its VM can have no other container. */
  readonly alone: boolean;
  readonly hooks: ContainerHooks;
  readonly publish: (event: PodEvent) => void;
}

/** The state of a process as containerd sees it. */
interface ProcessStatus {
  readonly state: ProcessState;
  readonly pid: number;
  readonly stdio: StdioPaths;
  readonly exit: Exit | undefined;
}

/**
 * A container of the pod: its init process and its execs. Changes are queued and made one at a time; reading, waiting
 * and killing bypass the queue.
 */
export class Container {
  readonly id: string;
  readonly bundle: string;
  readonly init: Process;
  readonly #options: ContainerOptions;
  /** undefined for a pause container. */
  readonly #guest: GuestContainer | undefined;
  readonly #execs: Execs;
  readonly #stats: ContainerStats;
  readonly #queue = new SerialQueue();
  readonly #sigkillOptions: SigkillOptions;
  readonly #sigkill: Sigkill;
  readonly #oomEvents = new OomEvents();
  /** The deadline of the hooks after the start. */
  #afterStart: Deadline | undefined;
  /** When its deletion was first requested after its end, by performance.now(). */
  #deletedAt: number | undefined;

  constructor(options: ContainerOptions) {
    const { id, bundle, sandbox, publish, pause, alone } = options;
    const { pid } = sandbox;
    this.id = id;
    this.bundle = bundle;
    this.#options = options;
    this.#guest = pause ? undefined : new GuestContainer(sandbox, id);
    this.#execs = new Execs(id, pid, publish);
    this.#stats = new ContainerStats(id, pause ? undefined : sandbox.agent);
    this.#sigkillOptions = {
      timeoutMs: sandbox.killTimeoutMs,
      alone,
      stopped: () => sandbox.stopped(),
      endVm: (reason) => sandbox.kill(`the VM was killed: ${reason}`),
    };
    this.#sigkill = new Sigkill(this.#sigkillOptions);
    const runner = this.#guest?.runner ?? new PauseProcess(sandbox.lost);
    this.init = new Process(`container ${id}`, options.io, runner, {
      started: () => publish({ kind: "start", containerId: id, pid }),
      beforeExit: async (ended) => {
        await this.#execs.ended();
        await this.#stats.keepLast(ended);
      },
      exited: (exit) => publish({ kind: "exit", containerId: id, execId: "", pid, exit }),
    });
  }

  /** The PID reported for every task of the pod: the VMM's. */
  get pid(): number {
    return this.#options.sandbox.pid;
  }

  /**
   * Creates it in the guest, after the VM has the capacity for it and its hooks have run. After a failure the caller
   * calls `undo`, then `abandon`.
   */
  async create(source: ContainerSource, log: CreationLog, deadline: Deadline): Promise<void> {
    const { sandbox, hooks, io } = this.#options;
    if (this.#guest) await sandbox.capacity.admit(this.id, source.spec.linux?.resources ?? {}, deadline);
    if (await hooks.creating(sandbox.pid, deadline)) await sandbox.refreshNetwork(deadline);
    await this.#guest?.create(source, io, log, deadline);
    this.init.follow();
  }

  /** Frees what a failed creation has in the guest and on the host. Idempotent. */
  async undo(): Promise<void> {
    await this.#guest?.undo();
  }

  /** Ends a failed creation, even if `undo` failed: capacity, hooks and streams. */
  async abandon(): Promise<void> {
    await this.#leave();
    await this.init.io.close();
  }

  /** The process with this exec id, or the init process for the empty id. Throws NotFound. */
  process(execId: string): Process {
    return execId === "" ? this.init : this.#execs.get(execId).process;
  }

  /** The state of the init process or an exec. Throws NotFound. */
  status(execId: string): ProcessStatus {
    const init = this.init.machine.state;
    if (execId === "") {
      return { state: init, pid: this.pid, stdio: this.#options.stdio, exit: this.init.exit };
    }
    const { process, stdio } = this.#execs.get(execId);
    const { state } = process.machine;
    const frozen = state === "running" && (init === "paused" || init === "pausing");
    return {
      state: frozen ? init : state,
      pid: state === "created" ? 0 : this.pid,
      stdio,
      exit: process.exit,
    };
  }

  /** Starts the init process or an exec. Throws NotFound, FailedPrecondition if it is not in the created state. */
  async start(execId: string, deadline: Deadline): Promise<void> {
    try {
      if (execId === "") await this.#startInit(deadline);
      else await this.#startExec(execId, deadline);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Registers an exec, which `start` runs. Throws AlreadyExists, FailedPrecondition if the container does not run. */
  addExec(id: string, process: object, stdio: StdioPaths, io: ProcessIo): void {
    if (!this.#guest)
      throw failedPrecondition(`container ${this.id} is the pod's pause container: nothing can run in it`);
    this.#requireRunning("exec in");
    this.#execs.add(this.#options.sandbox.agent, id, process, stdio, io);
  }

  /**
   * Signals a process without waiting for changes of the container. SIGKILL works whatever the guest does: if
   * necessary, the VM is killed. Throws NotFound if the process has ended, FailedPrecondition for an exec that was
   * not started.
   */
  async signal(execId: string, request: SignalRequest, deadline: Deadline): Promise<void> {
    const process = this.process(execId);
    if (execId !== "") {
      // As with runc, a signal waits for a pending start: clients give up an exec with Kill, then Delete.
      if (process.machine.is("created")) await process.settled(deadline);
      this.process(execId).machine.require("kill", "running", "stopped");
    }
    if (request.signal !== SIGKILL) await process.signal(request, deadline);
    // For an exec the VM is killed only if the guest does not answer: the container may be healthy.
    else if (execId === "") {
      if (!process.alive) await deadline.race(this.#killVmIfUndeleted());
      await this.#sigkill.send(process, request, deadline);
    } else {
      const options = { ...this.#sigkillOptions, alone: false, stopped: async () => [] };
      await new Sigkill(options).send(process, request, deadline);
    }
  }

  /** Resizes a process's terminal; does nothing if it has none or has ended. */
  async resize(execId: string, size: TerminalSize, deadline: Deadline): Promise<void> {
    const process = this.process(execId);
    if (process.io.terminal && process.alive) await process.runner.resize(size, deadline);
  }

  /** Closes a process's stdin after everything that was written to it. */
  closeStdin(execId: string): void {
    this.process(execId).io.closeStdin();
  }

  /** Freezes the container. Throws NotFound if it ends meanwhile. */
  pause(deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const agent = this.#agent("pause");
      const { machine } = this.init;
      machine.require("pause", "running");
      machine.transition("pausing");
      try {
        await agent.pause(this.id, deadline);
      } catch (error) {
        if (machine.is("pausing")) machine.transition("running");
        throw error;
      }
      if (!machine.is("pausing")) throw notFound(`container ${this.id} ended while it was being paused`);
      machine.transition("paused");
      this.#publish({ kind: "paused", containerId: this.id });
    });
  }

  /** Thaws a paused container. */
  resume(deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const agent = this.#agent("resume");
      this.init.machine.require("resume", "paused");
      await agent.resume(this.id, deadline);
      if (!this.init.machine.is("paused")) return; // it has ended, and its exit is reported
      this.init.machine.transition("running");
      this.#publish({ kind: "resumed", containerId: this.id });
    });
  }

  /** Changes its limits (OCI `linux.resources`). Throws FailedPrecondition if the VM lacks the capacity. */
  update(resources: OciResources, deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const { agent, capacity } = this.#options.sandbox;
      this.init.machine.require("update", "created", "running", "paused");
      await capacity.change(this.id, resources, deadline);
      if (this.#guest) await agent.update(this.id, guestResources(resources, capacity.size), deadline);
    });
  }

  /**
   * Reads the statistics of the container's cgroup. For an ended container whose guest is gone: the last known ones,
   * which for a killed container are those at its end. Empty for a pause container.
   */
  stats(deadline: Deadline): Promise<GuestStats> {
    return this.#stats.read(() => this.init.alive, deadline);
  }

  /** Deletes an exec that has stopped or was never started. Throws NotFound, FailedPrecondition. */
  deleteExec(execId: string, deadline: Deadline): Promise<Exit> {
    return this.#execs.delete(execId, (process) => this.#deleteInGuest(process, deadline), deadline);
  }

  /**
   * Deletes a container that has stopped, or kills and deletes one that was never started. Without `guest` only the
   * host's half is deleted, for a VM that is about to end.
   */
  delete(guest: boolean, deadline: Deadline): Promise<Exit> {
    if (!this.init.alive) {
      this.#afterStart?.cancel(`container ${this.id} was deleted`);
      this.#deletedAt ??= performance.now();
    }
    return this.#queue.run(async () => {
      if (this.init.machine.is("deleted")) throw notFound(`container ${this.id} was deleted`);
      this.init.machine.require("delete", "created", "stopped");
      if (this.init.machine.is("created")) {
        await this.#sigkill.end(this.init, { signal: SIGKILL, all: true, escalation: "never" }, deadline);
      }
      const exit = await this.init.exited;
      if (guest) await this.#deleteInGuest(this.init, deadline);
      await this.dispose().catch((error: unknown) => {
        throw HullError.wrap(`delete container ${this.id}: release it on the host`, error);
      });
      this.init.machine.transition("deleted");
      this.#execs.abandon();
      this.#publish({ kind: "delete", containerId: this.id, execId: "", pid: this.pid, exit });
      return exit;
    });
  }

  /** The guest reported an OOM kill in the container. */
  oomKilled(): void {
    if (this.#oomEvents.next()) this.#publish({ kind: "oom", containerId: this.id });
  }

  /** What it is doing, for the state dump. */
  describe(): Snapshot {
    const deletedAt = this.#deletedAt;
    return {
      id: this.id,
      ...(!this.#guest && { pause: true }),
      init: this.init.describe(),
      execs: this.#execs.describe(),
      queue: this.#queue.describe(),
      // Time since its deletion was first requested.
      ...(deletedAt !== undefined && { deletingForMs: Math.round(performance.now() - deletedAt) }),
    };
  }

  /** Closes every stream and releases what the container has on the host. Idempotent. */
  async dispose(): Promise<void> {
    await Promise.all([this.init.io.close(), this.#execs.close()]);
    await this.#guest?.host.release();
    await this.#leave();
  }

  /** Gives back its share of the VM's capacity and runs the poststop hooks. Idempotent, never rejects. */
  async #leave(): Promise<void> {
    const { hooks, sandbox } = this.#options;
    sandbox.capacity.forget(this.id);
    await hooks.stopped();
  }

  async #startInit(deadline: Deadline): Promise<void> {
    await this.#queue.run(async () => {
      this.init.machine.require("start", "created");
      const { sandbox, hooks } = this.#options;
      // Docker connects a container to its networks between create and start.
      await sandbox.refreshNetwork(deadline);
      await this.init.start(deadline);
      const limit = deadline.shorter(Number.POSITIVE_INFINITY);
      this.#afterStart = limit;
      try {
        await hooks.started(sandbox.pid, limit);
      } catch (error) {
        // A hook that a deletion or the deadline of the caller interrupted has not failed.
        throw limit.reason ? error : await undo(error, (by) => this.#killStarted(by));
      } finally {
        limit.dispose();
      }
    });
  }

  /** Kills the init process, whose poststart hook failed, and waits for its exit. It may have exited already. */
  async #killStarted(deadline: Deadline): Promise<void> {
    const kill = { signal: SIGKILL, all: true, escalation: "never" } as const;
    await this.#sigkill.send(this.init, kill, deadline).catch(ignoreGone);
    await deadline.race(this.init.exited);
  }

  async #startExec(execId: string, deadline: Deadline): Promise<void> {
    const exec = this.#execs.get(execId);
    this.#requireRunning(`start exec ${execId} in`);
    await exec.process.start(deadline);
  }

  /** Deletes a process in the guest. Throws Unavailable, and releases nothing, if the guest is unresponsive. */
  async #deleteInGuest({ runner, subject }: Process, deadline: Deadline): Promise<void> {
    const { sandbox } = this.#options;
    await whileAnswering((limit) => runner.delete(limit).catch(ignoreGone), sandbox, deadline).catch(
      (error: unknown) => {
        const { code, message } = HullError.from(error);
        if (code !== "Unavailable") throw error;
        throw unavailable(
          `delete ${subject}: ${message}; nothing was released; delete it again when the guest answers, or stop the pod`,
        );
      },
    );
  }

  /**
   * For SIGKILL to an ended container: kills the VM if the guest does not delete the container, since CRI stops no pod
   * before its containers are deleted. At once if a process of the VM is stopped, else after UNDELETED_LIMIT_MS.
   */
  async #killVmIfUndeleted(): Promise<void> {
    if (this.#deletedAt === undefined) return;
    const { sandbox } = this.#options;
    const what = `container ${this.id}: request to the guest`;
    const found = await Deadline.within(sandbox.killTimeoutMs, what, (limit) =>
      sandbox.unresponsiveGuest(limit),
    );
    const ms = Math.round(performance.now() - this.#deletedAt);
    if (!found?.stopped && ms < UNDELETED_LIMIT_MS) return;
    const why = found ? `: ${found.text}` : "";
    await this.#sigkillOptions.endVm(
      `container ${this.id} has exited and could not be deleted for ${ms} ms${why}`,
    );
  }

  /** The error for the caller: if the VM was killed, the reason for that in place of the guest's failure. */
  #explain(error: unknown): unknown {
    const { killed } = this.#options.sandbox;
    if (killed === undefined || HullError.from(error).code !== "Unavailable") return error;
    return new HullError("Unavailable", killed, { cause: error });
  }

  #agent(verb: string): GuestAgent {
    if (this.#guest) return this.#options.sandbox.agent;
    throw failedPrecondition(`cannot ${verb} container ${this.id}: it is the pod's pause container`);
  }

  #requireRunning(verb: string): void {
    this.init.machine.require(verb, "running");
  }

  #publish(event: PodEvent): void {
    this.#options.publish(event);
  }
}
