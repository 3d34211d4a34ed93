/**
 * How long a new shim waits for its first container. containerd calls Create as soon as `start` has answered; one that
 * has died or given up in between knows nothing of the shim.
 */
const FIRST_CREATE_MS = 30_000;
/** How long a shim that has lost its last container waits for Shutdown, which containerd calls right behind Delete. */
const SHUTDOWN_MS = 3_000;

interface RetirementOptions {
  /** Whether there is nothing left to serve. */
  unused(): boolean;
  /** Ends the shim. */
  retire(): void;
  readonly firstCreateMs?: number;
  readonly shutdownMs?: number;
}

/**
 * Ends a shim that has nothing left to serve and that nobody will call again: containerd never calls Shutdown when its
 * own client goes away during Delete, or when it dies itself. Only a Create makes an unused shim a used one, so calls
 * that ask do not count.
 */
export class Retirement {
  readonly #options: RetirementOptions;
  #timer: NodeJS.Timeout;

  constructor(options: RetirementOptions) {
    this.#options = options;
    this.#timer = this.#after(options.firstCreateMs ?? FIRST_CREATE_MS);
  }

  /** The last container is gone: the shim ends in a moment unless another is created. */
  emptied(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#after(this.#options.shutdownMs ?? SHUTDOWN_MS);
  }

  /** The shim is being ended by somebody else. */
  cancel(): void {
    clearTimeout(this.#timer);
  }

  #after(ms: number): NodeJS.Timeout {
    const look = () => {
      if (this.#options.unused()) this.#options.retire();
    };
    return setTimeout(look, ms).unref();
  }
}
