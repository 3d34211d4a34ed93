import type { GuestExit, SignalRequest } from "../agent/guest-agent.ts";
import { deferred } from "../core/deferred.ts";
import type { ProcessRunner } from "./process.ts";
import { SIGKILL } from "./sigkill.ts";

/** The pause container of a pod: the VM itself holds the pod's namespaces, so nothing needs to run. */
export class PauseProcess implements ProcessRunner {
  readonly #ended = deferred<GuestExit>();
  readonly #exit: Promise<GuestExit>;

  constructor(lost: Promise<unknown>) {
    this.#exit = Promise.race([this.#ended.promise, lost.then(() => exitBy(SIGKILL))]);
  }

  async start(): Promise<void> {
    // The VM already holds the pod's namespaces.
  }

  wait(): Promise<GuestExit> {
    return this.#exit;
  }

  /** Ends on any signal whose default action terminates a process; ignores the others, as `pause` does. */
  async signal({ signal }: SignalRequest): Promise<void> {
    if (TERMINATING_SIGNALS.has(signal)) this.#ended.resolve(exitBy(signal));
  }

  async resize(): Promise<void> {
    // It has no terminal.
  }

  async delete(): Promise<void> {
    // It has nothing in the guest.
  }
}

/** SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGTERM (signal(7)). */
const TERMINATING_SIGNALS = new Set([1, 2, 3, 6, SIGKILL, 15]);

function exitBy(signal: number): GuestExit {
  return { status: 128 + signal, at: new Date(), oomKilled: false, output: { stdout: 0n, stderr: 0n } };
}
