import type { SignalRequest } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { Process } from "./process.ts";

export const SIGKILL = 9;

/** How long a VMM may take to end after SIGKILL: with much memory that takes a while. */
const VMM_END_MS = 30_000;

export interface SigkillOptions {
  /** How long the guest may take (`runtime.kill_timeout`). */
  readonly timeoutMs: number;
  /** Ends the VM at once, with what lives in it; resolves when it is gone. `reason` is what the log says. Never rejects. */
  readonly endVm: (reason: string) => Promise<void>;
  /** Whether the VM has no other container: then nobody is hurt when it ends. */
  readonly alone: boolean;
  /** The VM's processes on the host that a signal has stopped. Never rejects. */
  readonly stopped: () => Promise<readonly string[]>;
}

/**
 * SIGKILL that does not depend on the guest. Where the guest does not carry it out in time the VM is ended, which ends
 * the process: that is what SIGKILL promises.
 *
 * A guest that has answered is believed at first: a process in an uninterruptible wait may end later. A VM with nothing
 * else in it is ended when the time is over, and one that still owes the answer to the process's start, too: only then
 * could its end be told. So is one that has a process stopped: what waits for virtiofsd then does so for ever. Where there
 * are other containers, whoever sends SIGKILL again by then has waited long enough.
 */
export class Sigkill {
  readonly #options: SigkillOptions;
  /** When the guest first said that it had sent it; of performance.now(). */
  #answeredAt: number | undefined;
  /** From then on: ends the VM where that has to be. */
  #watching: Promise<void> | undefined;
  /** The guest has no reason to keep the process. */
  #mustEnd: boolean;

  constructor(options: SigkillOptions) {
    this.#options = options;
    this.#mustEnd = options.alone;
  }

  /**
   * Sends SIGKILL to a process. Goes on when the caller's deadline is over: that ends only the caller's waiting. Throws
   * NotFound when the process has ended, DeadlineExceeded.
   */
  send(process: Process, request: SignalRequest, deadline: Deadline): Promise<void> {
    return deadline.race(this.#send(process, request));
  }

  /** As `send`, for a process of which the guest has no reason to keep it: resolves when it has ended. */
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
    const limit = Deadline.after(timeoutMs, `${subject}: SIGKILL`);
    try {
      await limit.race(process.signal(request, limit));
      this.#answered(process);
    } catch (error) {
      const { code, message } = HullError.from(error);
      if (code === "NotFound") {
        // Its exit is on its way, if the guest says the truth.
        this.#answered(process);
        throw error;
      }
      if (!(await settles(process.exited, limit)))
        await this.#endVm(`${subject} cannot be killed: ${message}`);
    } finally {
      limit.dispose();
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
    this.#watching.catch(() => undefined); // #end tells it
  }

  async #watch(process: Process): Promise<void> {
    const { timeoutMs } = this.#options;
    const what = `${process.subject}: waiting for its exit after SIGKILL`;
    if (await Deadline.within(timeoutMs, what, (limit) => settles(process.exited, limit))) return;
    const why = process.starting ? ["its start is still pending"] : [];
    for (const part of await this.#options.stopped()) why.push(`${part} is stopped`);
    if (!this.#mustEnd && why.length === 0) return;
    const words = why.map((one) => `, and ${one}`).join("");
    await this.#endVm(`${process.subject} has not exited ${timeoutMs} ms after SIGKILL${words}`);
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

/** Whether what never rejects resolves before the limit is over. */
async function settles(awaited: Promise<unknown>, limit: Deadline): Promise<boolean> {
  return await limit.race(awaited).then(
    () => true,
    () => false,
  );
}
