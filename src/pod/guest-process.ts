import type {
  CreateContainer,
  GuestAgent,
  GuestExit,
  ProcessRef,
  SignalRequest,
  TerminalSize,
} from "../agent/guest-agent.ts";
import type { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError } from "../core/errors.ts";
import type { ProcessRunner } from "./process.ts";
import { openStreams, type ProcessIo, stdioTokens } from "./process-io.ts";

/** A container's init process: created in the guest before it is started. */
export class GuestInit implements ProcessRunner {
  constructor(
    readonly agent: GuestAgent,
    readonly ref: ProcessRef,
  ) {}

  /** Prepares the container in the guest and connects its streams. */
  async create(
    spec: object,
    io: ProcessIo,
    disks: Pick<CreateContainer, "blockDevices" | "rootDisk">,
    deadline: Deadline,
  ): Promise<void> {
    const stdio = stdioTokens(io, undefined);
    const { containerId } = this.ref;
    await this.agent.createContainer({ containerId, spec, stdio, ...disks }, deadline);
    io.attach(await openStreams(stdio, (token) => this.agent.openStream(token, deadline)));
  }

  start(deadline: Deadline): Promise<void> {
    return this.agent.start(this.ref, deadline);
  }

  wait(): Promise<GuestExit> {
    return this.agent.wait(this.ref);
  }

  signal(request: SignalRequest, deadline: Deadline): Promise<void> {
    return this.agent.signal(this.ref, request, deadline);
  }

  resize(size: TerminalSize, deadline: Deadline): Promise<void> {
    return this.agent.resize(this.ref, size, deadline);
  }

  delete(deadline: Deadline): Promise<void> {
    return this.agent.delete(this.ref, deadline);
  }
}

/** An exec: it only exists on the host until it is started. */
export class GuestExec implements ProcessRunner {
  #size: TerminalSize | undefined;
  #inGuest = false;

  constructor(
    readonly agent: GuestAgent,
    readonly ref: ProcessRef,
    readonly process: object,
    readonly io: ProcessIo,
    /** Called when there is something in the guest to wait for. */
    readonly created: () => void,
  ) {}

  async start(deadline: Deadline): Promise<void> {
    const stdio = stdioTokens(this.io, this.#size);
    await this.agent.createExec({ ...this.ref, process: this.process, stdio }, deadline);
    this.#inGuest = true;
    try {
      this.io.attach(await openStreams(stdio, (token) => this.agent.openStream(token, deadline)));
      await this.agent.start(this.ref, deadline);
    } catch (error) {
      this.#inGuest = false;
      await this.agent.delete(this.ref, deadline).catch((undo) => {
        throw HullError.wrap(`${HullError.from(error).message}; undoing it`, undo);
      });
      throw error;
    }
    this.created();
  }

  wait(): Promise<GuestExit> {
    return this.agent.wait(this.ref);
  }

  signal(request: SignalRequest, deadline: Deadline): Promise<void> {
    return this.agent.signal(this.ref, request, deadline);
  }

  async resize(size: TerminalSize, deadline: Deadline): Promise<void> {
    this.#size = size;
    if (this.#inGuest) await this.agent.resize(this.ref, size, deadline);
  }

  async delete(deadline: Deadline): Promise<void> {
    if (this.#inGuest) await this.agent.delete(this.ref, deadline);
  }
}

/** The pause container of a pod: the VM itself holds the pod's namespaces, so nothing needs to run. */
export class PauseProcess implements ProcessRunner {
  readonly #ended = deferred<GuestExit>();
  readonly #exit: Promise<GuestExit>;

  constructor(lost: Promise<unknown>) {
    this.#exit = Promise.race([this.#ended.promise, lost.then(() => exitBy(SIGKILL))]);
  }

  async start(): Promise<void> {
    // The pod's namespaces are there since the VM runs.
  }

  wait(): Promise<GuestExit> {
    return this.#exit;
  }

  /** Any signal whose default action ends a process ends it; the others are ignored, as `pause` ignores them. */
  async signal({ signal }: SignalRequest): Promise<void> {
    if (ENDING_SIGNALS.has(signal)) this.#ended.resolve(exitBy(signal));
  }

  async resize(): Promise<void> {
    // It has no terminal.
  }

  async delete(): Promise<void> {
    // It has nothing in the guest.
  }
}

const SIGKILL = 9;
/** SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGTERM (signal(7)). */
const ENDING_SIGNALS = new Set([1, 2, 3, 6, SIGKILL, 15]);

function exitBy(signal: number): GuestExit {
  return { status: 128 + signal, at: new Date(), oomKilled: false, output: { stdout: 0n, stderr: 0n } };
}
