import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { alreadyExists, failedPrecondition, HullError, notFound, unavailable } from "../core/errors.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { StateMachine, type TransitionTable } from "../core/state-machine.ts";
import type { Timeline } from "../core/timeline.ts";
import { containerKind } from "../oci/container-kind.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import { type PodFile, type SandboxRequest, sandboxRequest } from "../oci/sandbox-request.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { BootSandbox, Sandbox } from "../sandbox/sandbox.ts";
import { Container } from "./container.ts";
import { HalfMade } from "./half-made.ts";
import { ContainerHooks } from "./hooks.ts";
import type { PodEvent } from "./pod-event.ts";
import type { Exit } from "./process.ts";
import type { ProcessIo, StdioPaths } from "./stdio.ts";

export type PodState = "new" | "booting" | "running" | "stopping" | "stopped";

export const POD_TRANSITIONS: TransitionTable<PodState> = {
  new: ["booting", "stopped"],
  booting: ["running", "stopped"],
  running: ["stopping"],
  stopping: ["stopped"],
  stopped: [],
};

export interface PodOptions {
  readonly id: string;
  readonly boot: BootSandbox;
  readonly publish: (event: PodEvent) => void;
  readonly log: (message: string, fields?: Record<string, unknown>) => void;
  /** Called when the last container, also one that was only being created, is gone. */
  readonly emptied?: () => void;
  /** Where the steps of the start are noted. */
  readonly timeline?: Timeline;
}

/** How a pod ended. */
export interface PodEnd {
  readonly at: Date;
  /** Why the VM went without being asked to; undefined when it was. */
  readonly reason: string | undefined;
}

/** A container that is being created. */
interface Creation {
  /** Over when the caller's is, or by `cancel` when the container is deleted or the pod is stopped. */
  readonly deadline: Deadline;
  /** Resolves when the container is there or all that was made of it has been undone. */
  readonly settled: Promise<void>;
  /** When it began; of performance.now(). */
  readonly since: number;
}

export interface CreateRequest {
  readonly bundle: string;
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource["mounts"];
  readonly stdio: StdioPaths;
  readonly io: ProcessIo;
}

/** How long reading a bundle and opening streams may take beyond their limit: on a dead file system they never end. */
const GIVE_UP_MS = 2_000;

/** What is to be created, once it is known; of one that comes too late the streams are closed. */
async function prepared(preparing: Promise<CreateRequest>, deadline: Deadline): Promise<CreateRequest> {
  const end = Deadline.none();
  const detach = deadline.onEnd((reason) => setTimeout(() => end.cancel(reason), GIVE_UP_MS).unref());
  try {
    return await end.race(preparing);
  } catch (error) {
    preparing.then(({ io }) => io.close()).catch(() => undefined); // its own failure is the one that is thrown
    throw error;
  } finally {
    detach();
  }
}

/** How long the guest may take to write its data back before its VM is ended all the same. */
const STOP_LIMIT_MS = 2_500;

/** A pod: one VM and the containers in it. A plain container is a pod of its own. */
export class Pod {
  readonly #machine: StateMachine<PodState>;
  readonly #containers = new Map<string, Container>();
  readonly #creating = new Map<string, Creation>();
  readonly #halfMade = new HalfMade();
  readonly #options: PodOptions;
  #sandbox: Promise<Sandbox> | undefined;
  /** The sandbox once it has been booted. */
  #booted: Sandbox | undefined;
  /** Cancels the boot. */
  #booting: Deadline | undefined;
  #stopped: Promise<void> | undefined;
  readonly #ended = deferred<PodEnd>();
  /** What a creation fails with whose VM is lost: its client has not canceled it. */
  #lost: HullError | undefined;
  /** Files of the pod that its containers see where they bring none of their own. */
  #files: readonly PodFile[] = [];
  #shmSource: string | undefined;
  /** A pod of a single container ends with it; a CRI pod outlives its containers. */
  #single = false;
  /** The container that the pod is made for: the single one or the sandbox's. There is one at a time. */
  #founder: string | undefined;

  constructor(options: PodOptions) {
    this.#options = options;
    this.#machine = new StateMachine(`pod ${options.id}`, POD_TRANSITIONS, "new");
  }

  get state(): PodState {
    return this.#machine.state;
  }

  /** Resolves when the VM has ended or could not be booted. Never rejects. */
  get ended(): Promise<PodEnd> {
    return this.#ended.promise;
  }

  get containers(): readonly Container[] {
    return [...this.#containers.values()];
  }

  get empty(): boolean {
    return this.#containers.size === 0 && this.#creating.size === 0;
  }

  /** What it is doing, for the state dump. */
  describe(): Snapshot {
    const creating = [...this.#creating].map(([id, { deadline, since }]) => ({
      id,
      forMs: Math.round(performance.now() - since),
      // JSON has no Infinity: without a limit this is null.
      leftMs: Math.round(deadline.remainingMs),
      ...(deadline.reason && { givenUp: deadline.reason.message }),
    }));
    return {
      state: this.state,
      ...(this.#stopped && { stopping: !this.#machine.is("stopped") }),
      ...(this.#lost && { lost: this.#lost.message }),
      sandbox: this.#booted?.describe(),
      containers: this.containers.map((container) => container.describe()),
      creating,
      // Creations that failed, and what they left could not be freed so far.
      halfMade: this.#halfMade.ids,
    };
  }

  /** Throws NotFound. */
  container(id: string): Container {
    const container = this.#containers.get(id);
    if (!container) throw notFound(`container ${id} does not exist`);
    return container;
  }

  /**
   * Creates a container, and boots the VM for the first one. `prepare` tells what is to be created; the streams it
   * opens are the pod's from then on. On failure nothing of it is left.
   */
  async create(
    id: string,
    prepare: (deadline: Deadline) => Promise<CreateRequest>,
    callerDeadline: Deadline,
  ): Promise<Container> {
    if (this.#containers.has(id) || this.#creating.has(id))
      throw alreadyExists(`container ${id} already exists`);
    this.#options.timeline?.mark("create called");
    const deadline = callerDeadline.shorter(Number.POSITIVE_INFINITY);
    const settled = deferred<void>();
    this.#creating.set(id, { deadline, settled: settled.promise, since: performance.now() });
    let request: CreateRequest | undefined;
    try {
      request = await prepared(prepare(deadline), deadline);
      deadline.check();
      const container = await this.#create(id, request, deadline);
      this.#containers.set(id, container);
      const { bundle, rootfs, stdio } = request;
      this.#options.publish({ kind: "create", containerId: id, pid: container.pid, bundle, rootfs, stdio });
      return container;
    } catch (error) {
      if (this.#single && this.#founder === id) await this.stop();
      this.#left(id);
      await request?.io.close();
      throw HullError.wrap(`create container ${id}`, error);
    } finally {
      this.#creating.delete(id);
      deadline.dispose();
      settled.resolve();
      this.#tellEmpty();
    }
  }

  /**
   * Deletes a container. The creation of one that is still being created is given up: NotFound then says that nothing
   * of it is left, DeadlineExceeded that its undoing goes on.
   */
  async delete(id: string, deadline: Deadline): Promise<Exit> {
    const creation = this.#creating.get(id);
    if (creation) {
      creation.deadline.cancel(`container ${id} was deleted while it was being created`);
      await deadline.race(creation.settled);
    }
    await deadline.race(this.#halfMade.clear(id)).catch((error: unknown) => {
      throw HullError.wrap(`delete container ${id}: release what its creation left behind`, error);
    });
    const container = this.container(id);
    const last = this.#single && this.#containers.size === 1;
    if (last && container.init.machine.is("stopped")) await this.stop();
    const exit = await container.delete(!last && this.#machine.is("running"), deadline);
    this.#containers.delete(id);
    this.#left(id);
    if (this.#single && this.empty) await this.stop();
    this.#tellEmpty();
    return exit;
  }

  #left(id: string): void {
    if (this.#founder === id) this.#founder = undefined;
  }

  #tellEmpty(): void {
    if (this.empty) this.#options.emptied?.();
  }

  /** Boots the VM of a pod that has no container yet (the Sandbox service). Throws FailedPrecondition when it ran before. */
  async start(request: SandboxRequest, deadline: Deadline): Promise<Sandbox> {
    if (!this.#sandbox) {
      this.#machine.transition("booting");
      this.#files = request.files ?? [];
      this.#shmSource = request.shmSource;
      this.#booting = deadline.shorter(Number.POSITIVE_INFINITY);
      this.#sandbox = this.#boot(request, this.#booting);
    }
    return await this.#sandbox;
  }

  /** Ends the VM and everything in it. Resolves when all is freed. Idempotent, never rejects. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const why = this.#lost ?? `pod ${this.#options.id} is being stopped`;
    for (const { deadline } of this.#creating.values()) deadline.cancel(why);
    this.#booting?.cancel(why);
    const sandbox = await this.#sandbox?.catch(() => undefined); // its failure was told to whoever asked for it
    if (this.#machine.is("running")) this.#machine.transition("stopping");
    const deadline = Deadline.after(STOP_LIMIT_MS, `stop pod ${this.#options.id}`);
    await sandbox
      ?.stop(deadline)
      .catch((error) => this.#options.log("pod: stopping the VM failed", { err: error }));
    deadline.dispose();
    if (!this.#machine.is("stopped")) this.#machine.transition("stopped");
    this.#ended.resolve({ at: new Date(), reason: undefined });
  }

  /** Stops the VM and frees every container, stopped or not. For the end of the shim. */
  async dispose(): Promise<void> {
    await this.stop();
    await Promise.all([...this.#creating.values()].map(({ settled }) => settled));
    for (const container of this.#containers.values()) {
      await container
        .dispose()
        .catch((error) => this.#options.log("pod: freeing a container failed", { err: error }));
    }
    for (const id of this.#halfMade.ids) {
      await this.#halfMade
        .clear(id)
        .catch((error) => this.#options.log("pod: undoing a creation failed", { err: error }));
    }
  }

  async #boot(request: SandboxRequest, deadline: Deadline): Promise<Sandbox> {
    try {
      const sandbox = await this.#options.boot(request, deadline);
      this.#machine.transition("running");
      this.#booted = sandbox;
      sandbox.lost
        .then(async (reason) => {
          this.#options.log("pod: the VM was lost", { reason });
          this.#ended.resolve({ at: new Date(), reason });
          this.#lost = unavailable(`the VM of pod ${this.#options.id} was lost: ${reason}`);
          await this.stop();
        })
        .catch((error) => this.#options.log("pod: cannot follow the VM", { err: error }));
      sandbox.agent.onOom((containerId) => this.#containers.get(containerId)?.oomKilled());
      return sandbox;
    } catch (error) {
      this.#machine.transition("stopped");
      this.#ended.resolve({ at: new Date(), reason: HullError.from(error).message });
      throw error;
    }
  }

  async #create(id: string, request: CreateRequest, deadline: Deadline): Promise<Container> {
    await deadline.race(this.#halfMade.clear(id));
    const { spec, bundle } = request;
    const kind = containerKind(spec.annotations);
    if (kind.kind === "container") {
      if (!this.#sandbox) throw failedPrecondition(`its pod ${kind.sandboxId} is not running`);
    } else if (this.#founder !== undefined || this.#containers.size > 0) {
      throw alreadyExists(`pod ${this.#options.id} already has its container`);
    }
    if (this.#machine.is("stopping", "stopped")) {
      throw failedPrecondition(`pod ${this.#options.id} has ended: delete it and create a new one`);
    }
    if (kind.kind === "single") this.#single = true;
    if (kind.kind !== "container") this.#founder = id;
    const sandbox = await this.start(sandboxRequest(spec, this.#options.id), deadline);
    const { log, publish } = this.#options;
    const container = new Container({
      ...{ ...request, id, sandbox, publish },
      pause: kind.kind === "sandbox",
      alone: this.#single,
      hooks: new ContainerHooks(spec, id, bundle, (message, err) => log(message, { err })),
    });
    const source = { ...request, podFiles: this.#files, podShm: this.#shmSource };
    try {
      await container.create(source, this.#options, deadline);
    } catch (error) {
      const failure = await this.#halfMade.undo(id, error, () => container.undo());
      await container.abandon();
      throw failure;
    }
    if (this.#single) {
      // Nothing can run in a VM whose only container has ended: it goes at once, after the exit was published.
      container.init.exited
        .then(() => this.stop())
        .catch((error) => this.#options.log("pod: stop", { err: error }));
    }
    return container;
  }
}
