import type {
  CreateContainer,
  GuestAgent,
  GuestExit,
  ProcessRef,
  SignalRequest,
  TerminalSize,
} from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { ProcessRunner } from "./process.ts";
import { SIGKILL } from "./sigkill.ts";
import { openStreams, type ProcessIo, stdioTokens } from "./stdio.ts";

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

/** How much longer than its caller waits the guest may take for a start, before the exec is given up for the time being. */
const SETTLE_MS = 30_000;
/** How long killing and deleting an exec in the guest may take. */
const UNDO_LIMIT_MS = 10_000;

/** An exec: it only exists on the host until it is started. */
export class GuestExec implements ProcessRunner {
  #size: TerminalSize | undefined;
  /** `stray`: its start failed, and it could not be deleted since. */
  #guest: "absent" | "present" | "stray" = "absent";
  /** Resolves (never rejects) when nothing undoes a failed start any more. */
  #undone: Promise<void> = Promise.resolve();

  constructor(
    readonly agent: GuestAgent,
    readonly ref: ProcessRef,
    readonly process: object,
    readonly io: ProcessIo,
    /** Called when there is something in the guest to wait for. */
    readonly created: () => void,
  ) {}

  /** A start that fails, or that its caller gives up, leaves nothing in the guest: it is undone in a time of its own. */
  async start(deadline: Deadline): Promise<void> {
    await this.#clear(deadline);
    const stdio = stdioTokens(this.io, this.#size);
    this.#guest = "present";
    let starting = Promise.resolve();
    try {
      await this.agent.createExec({ ...this.ref, process: this.process, stdio }, deadline);
      this.io.attach(await openStreams(stdio, (token) => this.agent.openStream(token, deadline)));
      starting = this.#startInGuest(deadline);
      await deadline.race(starting);
    } catch (error) {
      this.#undone = this.#undo(starting);
      // Whoever is told of the failure may start it again; one that waits no longer finds it being undone.
      await deadline.race(this.#undone).catch(() => undefined);
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
    if (this.#guest === "present") await this.agent.resize(this.ref, size, deadline);
  }

  async delete(deadline: Deadline): Promise<void> {
    await this.#clear(deadline);
    if (this.#guest === "present") await this.agent.delete(this.ref, deadline);
  }

  /** While a start is under way the guest can neither kill nor delete the exec, so its end is awaited past the deadline. */
  async #startInGuest(deadline: Deadline): Promise<void> {
    const { remainingMs } = deadline;
    const limit = Number.isFinite(remainingMs) ? Deadline.after(remainingMs + SETTLE_MS) : Deadline.none();
    await this.agent.start(this.ref, limit).finally(() => limit.dispose());
  }

  async #undo(starting: Promise<void>): Promise<void> {
    await starting.catch(() => undefined); // it has failed already, or its caller has been told that it took too long
    const what = `kill and delete exec ${this.ref.execId}`;
    await Deadline.within(UNDO_LIMIT_MS, what, (limit) => this.#remove(limit)).catch(() => {
      this.#guest = "stray"; // the next call about it tries again, and tells
    });
  }

  /** Waits until a failed start has been undone; what that left is removed now. */
  async #clear(deadline: Deadline): Promise<void> {
    await deadline.race(this.#undone);
    if (this.#guest === "stray") await this.#remove(deadline);
  }

  /** Takes it out of the guest, whatever it does there. */
  async #remove(deadline: Deadline): Promise<void> {
    const kill = { signal: SIGKILL, all: false, escalation: "never" } as const;
    const killed = await this.agent.signal(this.ref, kill, deadline).then(() => true, ifNotFound(false));
    if (killed) await deadline.race(this.agent.wait(this.ref));
    await this.agent.delete(this.ref, deadline).catch(ifNotFound(undefined));
    this.#guest = "absent";
  }
}

/** What a step comes to about whose object the guest says that it does not exist (any more, or yet). */
function ifNotFound<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (HullError.from(error).code === "NotFound") return value;
    throw error;
  };
}

/** Something that is gone already (or with its VM) need not be deleted. */
export function ignoreGone(error: unknown): void {
  const code = (error as { code?: unknown }).code;
  if (code !== "NotFound" && code !== "Unavailable") throw error;
}
