import type { GuestAgent, GuestExit, GuestStats, SignalRequest, TerminalSize } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { alreadyExists, failedPrecondition, HullError, notFound, unavailable } from "../core/errors.ts";
import { SerialQueue } from "../core/serial-queue.ts";
import { guestResources } from "../oci/guest-resources.ts";
import type { OciResources } from "../oci/spec.ts";
import type { AskGuest } from "../sandbox/sandbox.ts";
import type { VmCapacity } from "../sandbox/vm-capacity.ts";
import { GuestExec } from "./guest-process.ts";
import { OomEvents } from "./oom-events.ts";
import type { PodEvent } from "./pod-event.ts";
import { type Exit, Process, type ProcessRunner, type ProcessState } from "./process.ts";
import { SIGKILL, Sigkill, type SigkillOptions } from "./sigkill.ts";
import type { ProcessIo } from "./stdio.ts";
import { whileAnswering } from "./while-answering.ts";

export type { GuestStats } from "../agent/guest-agent.ts";

/** containerd drops a Stats call after 2 s. */
const STATS_LIMIT_MS = 1_500;
/** How long the exit of a killed container waits for its last numbers. */
const LAST_STATS_LIMIT_MS = 500;
/** Exit status of a process that SIGKILL ended, as the OOM killer does. */
const KILLED_STATUS = 137;
/** How long a guest may keep an ended container from being deleted before SIGKILL ends the VM. */
const UNDELETED_LIMIT_MS = 30_000;
/** How long a container's exit waits for the exits of its execs, which the agent has killed by then. */
const EXECS_END_LIMIT_MS = 5_000;

/** The streams as the client named them; State repeats them to the letter. */
export interface StdioPaths {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

export interface ContainerOptions {
  readonly id: string;
  readonly bundle: string;
  readonly stdio: StdioPaths;
  readonly io: ProcessIo;
  /** undefined for a pause container, which has nothing in the guest. */
  readonly agent: GuestAgent | undefined;
  readonly runner: ProcessRunner;
  /** The host process that stands for every task of the pod: the VMM. */
  readonly pid: number;
  /** Of the pod's VM: what a container can be given. */
  readonly capacity: VmCapacity;
  readonly publish: (event: PodEvent) => void;
  readonly sigkill: SigkillOptions;
  /** Asks whether the guest answers. */
  readonly silence: AskGuest;
  /** A failure of the guest as it is to be told: where the VM was ended, with the reason of that. */
  readonly explain: (error: unknown) => unknown;
  /** Runs before the init process is started; when it fails, so does the start. */
  readonly beforeStart: (deadline: Deadline) => Promise<void>;
  /** Runs once the init process has been started, until a deletion at most; never rejects. */
  readonly afterStart: (deadline: Deadline) => Promise<void>;
  /** Frees what the container has on the host (its root file system and volumes). */
  readonly release: () => Promise<void>;
}

export interface Exec {
  readonly id: string;
  readonly stdio: StdioPaths;
  readonly process: Process;
}

/** State of a process as containerd sees it. */
export interface ProcessStatus {
  readonly state: ProcessState;
  readonly pid: number;
  readonly stdio: StdioPaths;
  readonly exit: Exit | undefined;
}

/**
 * A container of the pod: its init process and its execs. Changes of the container go through its queue, one at a
 * time; reading, waiting and killing never wait for them.
 */
export class Container {
  readonly id: string;
  readonly bundle: string;
  readonly init: Process;
  readonly #options: ContainerOptions;
  readonly #execs = new Map<string, Exec>();
  readonly #queue = new SerialQueue();
  readonly #sigkill: Sigkill;
  readonly #oomEvents = new OomEvents();
  /** The limit of what runs after the start. */
  #afterStart: Deadline | undefined;
  /** When it was first to be deleted once it had ended; of performance.now(). */
  #deletedAt: number | undefined;
  #lastStats: GuestStats = { cgroupFiles: {}, netDev: "" };

  constructor(options: ContainerOptions) {
    this.id = options.id;
    this.bundle = options.bundle;
    this.#options = options;
    this.#sigkill = new Sigkill(options.sigkill);
    this.init = new Process(`container ${this.id}`, options.io, options.runner, {
      started: () => this.#publish({ kind: "start", containerId: this.id, pid: this.pid }),
      beforeExit: async (ended) => {
        await this.#execsEnded();
        await this.#keepLastStats(ended);
      },
      exited: (exit) =>
        this.#publish({ kind: "exit", containerId: this.id, execId: "", pid: this.pid, exit }),
    });
    this.init.follow();
  }

  get pid(): number {
    return this.#options.pid;
  }

  /** The process with this exec id, or the init process for the empty id. Throws NotFound. */
  process(execId: string): Process {
    return execId === "" ? this.init : this.#exec(execId).process;
  }

  status(execId: string): ProcessStatus {
    const init = this.init.machine.state;
    if (execId === "") {
      return { state: init, pid: this.pid, stdio: this.#options.stdio, exit: this.init.exit };
    }
    const { process, stdio } = this.#exec(execId);
    const { state } = process.machine;
    const frozen = state === "running" && (init === "paused" || init === "pausing");
    return {
      state: frozen ? init : state,
      pid: state === "created" ? 0 : this.pid,
      stdio,
      exit: process.exit,
    };
  }

  async start(execId: string, deadline: Deadline): Promise<void> {
    try {
      if (execId === "") await this.#startInit(deadline);
      else await this.#startExec(execId, deadline);
    } catch (error) {
      throw this.#options.explain(error);
    }
  }

  /** Registers an exec; nothing runs before `start`. */
  addExec(id: string, process: object, stdio: StdioPaths, io: ProcessIo): void {
    const { agent } = this.#options;
    if (!agent)
      throw failedPrecondition(`container ${this.id} is the pod's pause container: nothing can run in it`);
    this.#requireRunning("exec in");
    if (this.#execs.has(id)) throw alreadyExists(`exec ${id} of container ${this.id} exists already`);
    const runner = new GuestExec(agent, { containerId: this.id, execId: id }, process, io, () =>
      exec.process.follow(),
    );
    const exec: Exec = {
      id,
      stdio,
      process: new Process(`exec ${id} of container ${this.id}`, io, runner, {
        started: () =>
          this.#publish({ kind: "exec-started", containerId: this.id, execId: id, pid: this.pid }),
        beforeExit: async () => undefined,
        exited: (exit) =>
          this.#publish({ kind: "exit", containerId: this.id, execId: id, pid: this.pid, exit }),
      }),
    };
    this.#execs.set(id, exec);
    this.#publish({ kind: "exec-added", containerId: this.id, execId: id });
  }

  /**
   * Signals a process at once, whatever else is under way. SIGKILL works whatever the guest does: where it must, the VM
   * ends with the process.
   */
  async signal(execId: string, request: SignalRequest, deadline: Deadline): Promise<void> {
    const process = this.process(execId);
    if (execId !== "") process.machine.require("kill", "running", "stopped");
    if (request.signal !== SIGKILL) await process.signal(request, deadline);
    // An exec that cannot be killed ends the VM only where the guest does not answer: the container may be well.
    else if (execId === "") {
      if (!process.alive) await deadline.race(this.#endIfKept());
      await this.#sigkill.send(process, request, deadline);
    } else {
      const options = { ...this.#options.sigkill, alone: false, stopped: async () => [] };
      await new Sigkill(options).send(process, request, deadline);
    }
  }

  async resize(execId: string, size: TerminalSize, deadline: Deadline): Promise<void> {
    const process = this.process(execId);
    if (process.io.terminal && process.alive) await process.runner.resize(size, deadline);
  }

  closeStdin(execId: string): void {
    this.process(execId).io.closeStdin();
  }

  pause(deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const agent = this.#guest("pause");
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

  resume(deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const agent = this.#guest("resume");
      this.init.machine.require("resume", "paused");
      await agent.resume(this.id, deadline);
      if (!this.init.machine.is("paused")) return; // it ended meanwhile: the exit says so
      this.init.machine.transition("running");
      this.#publish({ kind: "resumed", containerId: this.id });
    });
  }

  /** Changes limits (OCI `linux.resources`) as far as the VM has what they ask for. Throws FailedPrecondition. */
  update(resources: OciResources, deadline: Deadline): Promise<void> {
    return this.#queue.run(async () => {
      const { agent, capacity } = this.#options;
      this.init.machine.require("update", "created", "running", "paused");
      await capacity.change(this.id, resources, deadline);
      await agent?.update(this.id, guestResources(resources, capacity.size), deadline);
    });
  }

  /**
   * The numbers of the container's cgroup. Of an ended container whose guest is gone: the last that are known, which
   * for one that was killed are those of its end. Nothing at all for a pause container.
   */
  async stats(deadline: Deadline): Promise<GuestStats> {
    const { agent } = this.#options;
    if (!agent) return this.#lastStats;
    const limit = deadline.shorter(STATS_LIMIT_MS, `container ${this.id}: reading its statistics`);
    try {
      this.#lastStats = await limit.race(agent.stats(this.id, limit));
    } catch (error) {
      if (this.init.alive) throw error;
    } finally {
      limit.dispose();
    }
    return this.#lastStats;
  }

  async deleteExec(execId: string, deadline: Deadline): Promise<Exit> {
    const { process } = this.#exec(execId);
    return await process.exclusively(async () => {
      if (process.machine.is("deleted")) throw notFound(`exec ${execId} of container ${this.id} was deleted`);
      process.machine.require("delete", "created", "stopped");
      await this.#deleteInGuest(process, deadline);
      if (process.machine.is("created")) process.abandon();
      process.machine.transition("deleted");
      await process.io.close();
      this.#execs.delete(execId);
      // As with runc there is no event: most who listen take any TaskDelete for the container's.
      return await process.exited;
    }, deadline);
  }

  /**
   * Deletes the container: stopped, or created and never started (it is killed then). `guest` false leaves the guest
   * out of it, for a VM that is about to end.
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
        throw HullError.wrap(`delete container ${this.id}: free what it has on the host`, error);
      });
      this.init.machine.transition("deleted");
      for (const { process } of this.#execs.values()) if (process.machine.is("created")) process.abandon();
      this.#publish({ kind: "delete", containerId: this.id, execId: "", pid: this.pid, exit });
      return exit;
    });
  }

  /** The guest says that the OOM killer struck in it. */
  oomKilled(): void {
    if (this.#oomEvents.next()) this.#publish({ kind: "oom", containerId: this.id });
  }

  /** Closes every stream and frees what the container has on the host. Idempotent. */
  async dispose(): Promise<void> {
    await Promise.all(
      [this.init, ...[...this.#execs.values()].map((exec) => exec.process)].map((p) => p.io.close()),
    );
    await this.#options.release();
  }

  async #startInit(deadline: Deadline): Promise<void> {
    await this.#queue.run(async () => {
      this.init.machine.require("start", "created");
      await this.#options.beforeStart(deadline);
      await this.init.start(deadline);
      this.#afterStart = deadline.shorter(Number.POSITIVE_INFINITY);
      await this.#options.afterStart(this.#afterStart).finally(() => this.#afterStart?.dispose());
    });
  }

  async #startExec(execId: string, deadline: Deadline): Promise<void> {
    const exec = this.#exec(execId);
    this.#requireRunning(`start exec ${execId} in`);
    await exec.process.start(deadline);
  }

  /** Has the guest forget what has ended. Throws Unavailable, and nothing is freed, where the guest is silent. */
  async #deleteInGuest({ runner, subject }: Process, deadline: Deadline): Promise<void> {
    const { sigkill, silence } = this.#options;
    const patience = { timeoutMs: sigkill.timeoutMs, silence };
    await whileAnswering((limit) => runner.delete(limit).catch(ignoreGone), patience, deadline).catch(
      (error: unknown) => {
        const { code, message } = HullError.from(error);
        if (code !== "Unavailable") throw error;
        throw unavailable(
          `delete ${subject}: ${message}; nothing of it was freed: delete it again when the guest answers, or end the pod`,
        );
      },
    );
  }

  /**
   * For SIGKILL to an ended container. CRI ends no pod before its containers are deleted: a guest that does not let go of
   * one loses its VM, at once where a process of the host is stopped, else after a while.
   */
  async #endIfKept(): Promise<void> {
    if (this.#deletedAt === undefined) return;
    const { sigkill, silence } = this.#options;
    const limit = Deadline.after(sigkill.timeoutMs, `container ${this.id}: asking the guest`);
    const silent = await silence(limit).finally(() => limit.dispose());
    const ms = Math.round(performance.now() - this.#deletedAt);
    if (!silent?.stopped && ms < UNDELETED_LIMIT_MS) return;
    const why = silent ? `: ${silent.words}` : "";
    await sigkill.endVm(`container ${this.id} has ended and cannot be deleted for ${ms} ms${why}`);
  }

  #exec(id: string): Exec {
    const exec = this.#execs.get(id);
    if (!exec) throw notFound(`exec ${id} of container ${this.id} does not exist`);
    return exec;
  }

  #guest(verb: string): GuestAgent {
    const { agent } = this.#options;
    if (!agent)
      throw failedPrecondition(`cannot ${verb} container ${this.id}: it is the pod's pause container`);
    return agent;
  }

  #requireRunning(verb: string): void {
    this.init.machine.require(verb, "running");
  }

  /** The init process's exit is the last of a container: the execs that ran end (and are told of) before it. */
  async #execsEnded(): Promise<void> {
    const running = [...this.#execs.values()].filter(({ process }) => process.machine.is("running"));
    const limit = Deadline.after(EXECS_END_LIMIT_MS, `container ${this.id}: the end of its execs`);
    // A guest that keeps an exec's exit to itself must not keep the container's.
    await limit.race(Promise.all(running.map(({ process }) => process.exited))).catch(() => undefined);
    limit.dispose();
  }

  /** CRI asks a killed container's statistics for the reason, when the VM may have ended with the container. */
  async #keepLastStats(ended: GuestExit | undefined): Promise<void> {
    if (!ended || (ended.status !== KILLED_STATUS && !ended.oomKilled)) return;
    const limit = Deadline.after(LAST_STATS_LIMIT_MS, "the last statistics");
    await this.stats(limit).catch(() => {
      // Without numbers there is still what the exit says.
      if (!ended.oomKilled) return;
      const { cgroupFiles, netDev } = this.#lastStats;
      this.#lastStats = {
        cgroupFiles: { ...cgroupFiles, "memory.events": "oom 1\noom_kill 1\n" },
        netDev,
      };
    });
    limit.dispose();
  }

  #publish(event: PodEvent): void {
    this.#options.publish(event);
  }
}

/** Something that is gone already (or with its VM) need not be deleted. */
export function ignoreGone(error: unknown): void {
  const code = (error as { code?: unknown }).code;
  if (code !== "NotFound" && code !== "Unavailable") throw error;
}
