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
import { FailedCreations } from "./failed-creations.ts";
import { ContainerHooks } from "./hooks.ts";
import type { PodEvent } from "./pod-event.ts";
import type { Exit } from "./process.ts";
import type { ProcessIo, StdioPaths } from "./stdio.ts";

/** State of a pod's VM. */
type PodState = "new" | "booting" | "running" | "stopping" | "stopped";

/** The allowed changes of state. */
const POD_TRANSITIONS: TransitionTable<PodState> = {
  new: ["booting", "stopped"],
  booting: ["running", "stopped"],
  running: ["stopping"],
  stopping: ["stopped"],
  stopped: [],
};

/** What a pod needs from the shim. */
interface PodOptions {
  readonly id: string;
  readonly boot: BootSandbox;
  readonly publish: (event: PodEvent) => void;
  readonly log: (message: string, fields?: Record<string, unknown>) => void;
  /** Called when no container is left, not even one that is being created. */
  readonly emptied?: () => void;
  /** Records the steps of the start. */
  readonly timeline?: Timeline;
}

/** How a pod ended. */
interface PodEnd {
  readonly at: Date;
  /** Why the VM was lost or could not be booted; undefined if it was stopped. */
  readonly reason: string | undefined;
}

/** A container that is being created. */
interface Creation {
  /** Ends with the caller's, or when the container is deleted or the pod is stopped. */
  readonly deadline: Deadline;
  /** Resolves when the container exists or its creation has been undone. */
  readonly settled: Promise<void>;
  /** When it began, by performance.now(). */
  readonly since: number;
}

/** What a container is created from. */
export interface CreateRequest {
  readonly bundle: string;
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource["mounts"];
  readonly stdio: StdioPaths;
  readonly io: ProcessIo;
}

/** How long past its deadline a preparation is awaited: reading a bundle on a dead file system never ends. */
const GIVE_UP_MS = 2_000;

/** Waits for the request of a creation. If it comes too late, its streams are closed. */
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

/** How long the guest may take to write back its data before its VM is killed. */
const STOP_LIMIT_MS = 2_500;

/** A pod: one VM and the containers in it. A container without a pod (`ctr run`) has a pod of its own. */
export class Pod {
  readonly #machine: StateMachine<PodState>;
  readonly #containers = new Map<string, Container>();
  readonly #creating = new Map<string, Creation>();
  readonly #failedCreations = new FailedCreations();
  readonly #options: PodOptions;
  #sandbox: Promise<Sandbox> | undefined;
  /** The sandbox after its boot. */
  #booted: Sandbox | undefined;
  /** The boot's deadline, through which it is cancelled. */
  #booting: Deadline | undefined;
  #stopped: Promise<void> | undefined;
  readonly #ended = deferred<PodEnd>();
  /** The error of creations whose VM was lost: their client has not cancelled them. */
  #lost: HullError | undefined;
  /** Files of the pod that containers get unless they have mounts of their own there. */
  #files: readonly PodFile[] = [];
  #shmSource: string | undefined;
  /** Whether the pod ends with its single container; a CRI pod outlives its containers. */
  #single = false;
  /** The id of the single or the pause container, of which a pod has at most one. */
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
      // Without a deadline this is Infinity, which JSON shows as null.
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
      // Those that could not be undone yet.
      failedCreations: this.#failedCreations.ids,
    };
  }

  /** Returns a container. Throws NotFound. */
  container(id: string): Container {
    const container = this.#containers.get(id);
    if (!container) throw notFound(`container ${id} does not exist`);
    return container;
  }

  /**
   * Creates a container, for which the first one's creation boots the VM. `prepare` returns what to create; the streams
   * in it belong to the pod from then on. A creation that fails is undone.
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
    try {
      const request = await prepared(prepare(deadline), deadline);
      const container = await this.#create(id, request, deadline);
      this.#containers.set(id, container);
      const { bundle, rootfs, stdio } = request;
      this.#options.publish({ kind: "create", containerId: id, pid: container.pid, bundle, rootfs, stdio });
      return container;
    } catch (error) {
      if (this.#single && this.#founder === id) await this.stop();
      this.#forgetFounder(id);
      throw HullError.wrap(`create container ${id}`, error);
    } finally {
      this.#creating.delete(id);
      deadline.dispose();
      settled.resolve();
      this.#reportIfEmpty();
    }
  }

  /**
   * Deletes a container. A creation in progress is cancelled: NotFound then means that nothing of it is left,
   * DeadlineExceeded that it is still being undone.
   */
  async delete(id: string, deadline: Deadline): Promise<Exit> {
    const creation = this.#creating.get(id);
    if (creation) {
      creation.deadline.cancel(`container ${id} was deleted while it was being created`);
      await deadline.race(creation.settled);
    }
    await deadline.race(this.#failedCreations.clear(id)).catch((error: unknown) => {
      throw HullError.wrap(`delete container ${id}: release what its creation left behind`, error);
    });
    const container = this.container(id);
    const last = this.#single && this.#containers.size === 1;
    if (last && container.init.machine.is("stopped")) await this.stop();
    const exit = await container.delete(!last && this.#machine.is("running"), deadline);
    this.#containers.delete(id);
    this.#forgetFounder(id);
    if (this.#single && this.empty) await this.stop();
    this.#reportIfEmpty();
    return exit;
  }

  #forgetFounder(id: string): void {
    if (this.#founder === id) this.#founder = undefined;
  }

  #reportIfEmpty(): void {
    if (this.empty) this.#options.emptied?.();
  }

  /** Boots the VM, once; the Sandbox service does so before any container. Throws FailedPrecondition after the pod's end. */
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

  /** Stops the VM and everything in it. Resolves when everything is released. Idempotent, never rejects. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const why = this.#lost ?? `pod ${this.#options.id} is being stopped`;
    for (const { deadline } of this.#creating.values()) deadline.cancel(why);
    this.#booting?.cancel(why);
    const sandbox = await this.#sandbox?.catch(() => undefined); // a failed boot was reported to its caller
    if (this.#machine.is("running")) this.#machine.transition("stopping");
    await Deadline.within(STOP_LIMIT_MS, `stop pod ${this.#options.id}`, async (limit) =>
      sandbox?.stop(limit),
    ).catch((error) => this.#options.log("pod: stopping the VM failed", { err: error }));
    if (!this.#machine.is("stopped")) this.#machine.transition("stopped");
    this.#ended.resolve({ at: new Date(), reason: undefined });
  }

  /** Stops the VM and releases every container, in whatever state. For the shim's exit. */
  async dispose(): Promise<void> {
    await this.stop();
    await Promise.all([...this.#creating.values()].map(({ settled }) => settled));
    for (const container of this.#containers.values()) {
      await container
        .dispose()
        .catch((error) => this.#options.log("pod: releasing a container failed", { err: error }));
    }
    for (const id of this.#failedCreations.ids) {
      await this.#failedCreations
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
        .catch((error) => this.#options.log("pod: cannot watch the VM", { err: error }));
      sandbox.agent.onOom((containerId) => this.#containers.get(containerId)?.oomKilled());
      return sandbox;
    } catch (error) {
      this.#machine.transition("stopped");
      this.#ended.resolve({ at: new Date(), reason: HullError.from(error).message });
      throw error;
    }
  }

  async #create(id: string, request: CreateRequest, deadline: Deadline): Promise<Container> {
    const container = await this.#newContainer(id, request, deadline).catch(async (error: unknown) => {
      await request.io.close(); // no container owns the streams
      throw error;
    });
    const source = { ...request, podFiles: this.#files, podShm: this.#shmSource };
    try {
      await container.create(source, this.#options, deadline);
    } catch (error) {
      const failure = await this.#failedCreations.undo(id, error, () => container.undo());
      await container.abandon();
      throw failure;
    }
    if (this.#single) {
      // Nothing can run in a VM whose only container has ended: it is stopped at once, after the exit was published.
      container.init.exited
        .then(() => this.stop())
        .catch((error) => this.#options.log("pod: stopping the VM after the exit failed", { err: error }));
    }
    return container;
  }

  /** A container in the pod's VM, for which nothing was created yet. It owns the request's streams. */
  async #newContainer(id: string, request: CreateRequest, deadline: Deadline): Promise<Container> {
    deadline.check();
    await deadline.race(this.#failedCreations.clear(id));
    const { spec, bundle } = request;
    const kind = containerKind(spec.annotations);
    if (kind.kind === "container") {
      if (!this.#sandbox) throw failedPrecondition(`its pod ${kind.sandboxId} is not running`);
    } else if (this.#founder !== undefined || this.#containers.size > 0) {
      throw alreadyExists(`pod ${this.#options.id} already has a container`);
    }
    if (this.#machine.is("stopping", "stopped")) {
      throw failedPrecondition(`pod ${this.#options.id} has ended; delete it and create a new one`);
    }
    if (kind.kind === "single") this.#single = true;
    if (kind.kind !== "container") this.#founder = id;
    const sandbox = await this.start(sandboxRequest(spec, this.#options.id), deadline);
    const { log, publish } = this.#options;
    return new Container({
      ...{ ...request, id, sandbox, publish },
      pause: kind.kind === "sandbox",
      alone: this.#single,
      hooks: new ContainerHooks(spec, id, bundle, (message, err) => log(message, { err })),
    });
  }
}
