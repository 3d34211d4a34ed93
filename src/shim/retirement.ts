/**
 * How long a new shim waits for its first container. containerd calls Create right after `start`; if it exited or gave
 * up in between, it does not know the shim.
 */
const FIRST_CREATE_MS = 30_000;
/** How long a shim without containers waits for Shutdown, which containerd calls right after Delete. */
const SHUTDOWN_MS = 3_000;

interface RetirementOptions {
  /** Whether there is nothing to serve. */
  unused(): boolean;
  /** Shuts the shim down. */
  retire(): void;
  readonly firstCreateMs?: number;
  readonly shutdownMs?: number;
}

/**
 * Shuts down a shim that has nothing to serve and will not be called again: containerd does not call Shutdown if it
 * exits, or if its own client goes away during Delete. Calls such as State or Connect do not postpone this.
 */
export class Retirement {
  readonly #options: RetirementOptions;
  #timer: NodeJS.Timeout;

  constructor(options: RetirementOptions) {
    this.#options = options;
    this.#timer = this.#after(options.firstCreateMs ?? FIRST_CREATE_MS);
  }

  /** The last container was deleted: retires the shim soon unless another one is created. */
  emptied(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#after(this.#options.shutdownMs ?? SHUTDOWN_MS);
  }

  /** The shim is shut down for another reason. */
  cancel(): void {
    clearTimeout(this.#timer);
  }

  #after(ms: number): NodeJS.Timeout {
    const check = () => {
      if (this.#options.unused()) this.#options.retire();
    };
    return setTimeout(check, ms).unref();
  }
}
