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

/** A container's init process, which is created in the guest before it is started. */
export class GuestInit implements ProcessRunner {
  constructor(
    readonly agent: GuestAgent,
    readonly ref: ProcessRef,
  ) {}

  /** Creates the container in the guest and connects its streams. */
  async create(
    spec: object,
    io: ProcessIo,
    disks: Omit<CreateContainer, "containerId" | "spec" | "stdio">,
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

/** How long past its caller's deadline a start may take in the guest before the exec is killed. */
const SETTLE_MS = 30_000;
/** How long killing and deleting an exec in the guest may take. */
const UNDO_LIMIT_MS = 10_000;

/** An exec, which exists only on the host until it is started. */
export class GuestExec implements ProcessRunner {
  #size: TerminalSize | undefined;
  /** `stray`: its start failed, and it could not be deleted yet. */
  #guest: "absent" | "present" | "stray" = "absent";
  /** Resolves when no failed start is being undone. Never rejects. */
  #undone: Promise<void> = Promise.resolve();

  constructor(
    readonly agent: GuestAgent,
    readonly ref: ProcessRef,
    readonly process: object,
    readonly io: ProcessIo,
    /** Called after a start, when the exit can be waited for. */
    readonly started: () => void,
  ) {}

  /** Creates and starts it. A start that fails, or whose deadline ends, is undone with a timeout of its own. */
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
      // The caller may start it again after the error, so this waits for the undo, if the deadline allows.
      await deadline.race(this.#undone).catch(() => undefined);
      throw error;
    }
    this.started();
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

  /** While a start is pending the guest can neither kill nor delete the exec, so this waits past the deadline. */
  async #startInGuest(deadline: Deadline): Promise<void> {
    const { remainingMs } = deadline;
    const limit = Number.isFinite(remainingMs) ? Deadline.after(remainingMs + SETTLE_MS) : Deadline.none();
    await this.agent.start(this.ref, limit).finally(() => limit.dispose());
  }

  async #undo(starting: Promise<void>): Promise<void> {
    await starting.catch(() => undefined); // its failure, or the end of the deadline, was reported
    const what = `kill and delete exec ${this.ref.execId}`;
    await Deadline.within(UNDO_LIMIT_MS, what, (limit) => this.#remove(limit)).catch(() => {
      this.#guest = "stray"; // the next call retries, and reports a failure
    });
  }

  /** Waits until a failed start has been undone, and removes what that left. */
  async #clear(deadline: Deadline): Promise<void> {
    await deadline.race(this.#undone);
    if (this.#guest === "stray") await this.#remove(deadline);
  }

  /** Removes it from the guest, whatever its state there. */
  async #remove(deadline: Deadline): Promise<void> {
    const kill = { signal: SIGKILL, all: false, escalation: "never" } as const;
    const killed = await this.agent.signal(this.ref, kill, deadline).then(() => true, ifNotFound(false));
    if (killed) await deadline.race(this.agent.wait(this.ref));
    await this.agent.delete(this.ref, deadline).catch(ifNotFound(undefined));
    this.#guest = "absent";
  }
}

/** Returns `value` in place of NotFound from the guest: the object does not exist (any more, or yet). */
function ifNotFound<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (HullError.from(error).code === "NotFound") return value;
    throw error;
  };
}

/** Ignores the failure to delete or kill something that is already gone, or whose VM is. */
export function ignoreGone(error: unknown): void {
  const code = (error as { code?: unknown }).code;
  if (code !== "NotFound" && code !== "Unavailable") throw error;
}
