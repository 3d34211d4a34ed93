import type { SignalRequest } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { Process } from "./process.ts";

/** The signal's number. */
export const SIGKILL = 9;

/** How long a VMM may take to exit after SIGKILL: freeing much memory takes a while. */
const VMM_END_MS = 30_000;

/** The VM of the process that is killed. */
export interface SigkillOptions {
  /** How long the guest may take (`runtime.kill_timeout`). */
  readonly timeoutMs: number;
  /** Kills the VM and everything in it; `reason` is logged. Resolves when the VM is gone. Never rejects. */
  readonly endVm: (reason: string) => Promise<void>;
  /** Whether the VM has no other container, which would be killed with it. */
  readonly alone: boolean;
  /** The VM's processes on the host that are stopped (SIGSTOP). Never rejects. */
  readonly stopped: () => Promise<readonly string[]>;
}

/**
 * SIGKILL that does not depend on the guest: if the guest does not carry it out in time, the VM is killed.
 *
 * A guest that has answered is trusted at first, since a process in uninterruptible sleep may exit later. After the
 * timeout the VM is killed nevertheless if it has no other container, if the process's start is still pending (its exit
 * is reported only after that), or if a process of the VM is stopped (what waits for virtiofsd then waits forever).
 * Otherwise a second SIGKILL after the timeout kills the VM.
 */
export class Sigkill {
  readonly #options: SigkillOptions;
  /** When the guest first answered that it had sent SIGKILL, by performance.now(). */
  #answeredAt: number | undefined;
  /** Waits for the exit after that answer, and kills the VM if necessary. */
  #watching: Promise<void> | undefined;
  /** Whether the guest has no reason to keep the process. */
  #mustEnd: boolean;

  constructor(options: SigkillOptions) {
    this.#options = options;
    this.#mustEnd = options.alone;
  }

  /**
   * Sends SIGKILL to a process. Continues after the deadline, which ends only the caller's wait. Throws NotFound if the
   * process has ended.
   */
  send(process: Process, request: SignalRequest, deadline: Deadline): Promise<void> {
    return deadline.race(this.#send(process, request));
  }

  /** Like `send`, for a process that the guest has no reason to keep. Resolves when it has ended. */
  end(process: Process, request: SignalRequest, deadline: Deadline): Promise<void> {
    return deadline.race(this.#end(process, request));
  }

  async #send(process: Process, request: SignalRequest): Promise<void> {
    const { timeoutMs } = this.#options;
    const { subject } = process;
    if (process.alive && this.#answeredAt !== undefined) {
      const sinceMs = Math.round(performance.now() - this.#answeredAt);
      if (sinceMs >= timeoutMs) {
        await this.#endVm(`${subject} is still alive ${sinceMs} ms after the guest agent answered SIGKILL`);
        return;
      }
    }
    await Deadline.within(timeoutMs, `${subject}: SIGKILL`, (limit) =>
      this.#sendByGuest(process, request, limit),
    );
  }

  /** Kills the VM if the guest fails and the process has not ended within the limit. */
  async #sendByGuest(process: Process, request: SignalRequest, limit: Deadline): Promise<void> {
    try {
      await limit.race(process.signal(request, limit));
      this.#answered(process);
    } catch (error) {
      const { code, message } = HullError.from(error);
      if (code === "NotFound") {
        // Its exit follows, if the guest is right.
        this.#answered(process);
        throw error;
      }
      if (!(await settles(process.exited, limit)))
        await this.#endVm(`${process.subject} cannot be killed: ${message}`);
    }
  }

  async #end(process: Process, request: SignalRequest): Promise<void> {
    this.#mustEnd = true;
    await this.#send(process, request).catch((error: unknown) => {
      if (HullError.from(error).code !== "NotFound") throw error;
    });
    await this.#watching;
    await process.exited;
  }

  #answered(process: Process): void {
    this.#answeredAt ??= performance.now();
    this.#watching ??= this.#watch(process);
    this.#watching.catch(() => undefined); // #end reports it
  }

  async #watch(process: Process): Promise<void> {
    const { timeoutMs } = this.#options;
    const what = `${process.subject}: waiting for its exit after SIGKILL`;
    if (await Deadline.within(timeoutMs, what, (limit) => settles(process.exited, limit))) return;
    const why = process.starting ? ["its start is still pending"] : [];
    for (const part of await this.#options.stopped()) why.push(`${part} is stopped`);
    if (!this.#mustEnd && why.length === 0) return;
    const causes = why.map((one) => `, and ${one}`).join("");
    await this.#endVm(`${process.subject} has not exited ${timeoutMs} ms after SIGKILL${causes}`);
  }

  async #endVm(reason: string): Promise<void> {
    const ended = await Deadline.within(VMM_END_MS, "waiting for the VMM to exit", (limit) =>
      settles(this.#options.endVm(reason), limit),
    );
    if (ended) return;
    throw unavailable(
      `${reason}; the VMM was also sent SIGKILL and has not exited; see the host's kernel log`,
    );
  }
}

/** Whether a promise that never rejects resolves before the limit ends. */
async function settles(awaited: Promise<unknown>, limit: Deadline): Promise<boolean> {
  return await limit.race(awaited).then(
    () => true,
    () => false,
  );
}
