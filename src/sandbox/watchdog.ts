import { Deadline } from "../core/deadline.ts";

/** Without the monitor the VM cannot be changed or paused; without the guest nothing in it can be reached. */
export type Part = "vmm" | "guest";

/** A part that does not answer, or answers that it is broken. */
export interface Silence {
  readonly part: Part;
  /** One sentence: `the guest agent does not answer`. */
  readonly text: string;
  /** Because a signal has stopped a process of the host. */
  readonly stopped?: true;
}

/** What a watchdog has found. */
export interface Health {
  /** What has not answered of late; empty while all is well. */
  readonly silent: readonly Silence[];
  /** Milliseconds since all was well; of one that is well again, how long it was not. */
  readonly forMs: number;
}

export interface WatchdogOptions {
  /** Milliseconds from one look to the next, give or take a quarter; 0 = never. */
  readonly intervalMs: number;
  /** How long the parts may take to answer, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Asks all parts at once; resolves, when the deadline is over at the latest, with those that have not answered.
   * Undefined while they need not: the VM is paused. Never rejects.
   */
  look(deadline: Deadline): Promise<readonly Silence[] | undefined>;
  /** Called when a part has fallen silent, and when all is well again. */
  report(health: Health): void;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
  /** From 0 up to 1; for tests. */
  readonly random?: () => number;
}

/** One question may meet a host or a shim that stood still: its answer is there, and its time over before it is read. */
const PROBES = 2;

/**
 * Looks now and then whether a VM still answers. A part that has not answered two questions in a row is told of, once,
 * and so is the return of them all. There is never more than one look at a time; their times are random, so that the
 * pods of a node do not ask together.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #now: () => number;
  readonly #misses = { vmm: 0, guest: 0 };
  readonly #reported = new Set<Part>();
  #wellAt: number;
  #health: Health = { silent: [], forMs: 0 };
  #timer: NodeJS.Timeout | undefined;
  #looking: Deadline | undefined;
  #stopped = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#wellAt = this.#now();
    this.#schedule();
  }

  /** What the last look has found. */
  get health(): Health {
    return this.#health;
  }

  /** Ends it; what is being asked is of no interest any more. Idempotent. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#looking?.cancel("the watchdog is stopped");
  }

  #schedule(): void {
    const { intervalMs, random = Math.random } = this.#options;
    if (this.#stopped || intervalMs === 0) return;
    this.#timer = setTimeout(() => void this.#round(), intervalMs * (0.75 + random() / 2));
    this.#timer.unref();
  }

  /** A first miss is followed by a second question at once. */
  async #round(): Promise<void> {
    for (let probe = 0; probe < PROBES; probe++) {
      await this.#look();
      if (this.#stopped || (this.#misses.vmm !== 1 && this.#misses.guest !== 1)) break;
    }
    this.#schedule();
  }

  async #look(): Promise<void> {
    const { timeoutMs, look } = this.#options;
    const limit = Deadline.after(timeoutMs, "a health check");
    this.#looking = limit;
    const silences = await look(limit);
    this.#looking = undefined;
    limit.dispose();
    if (!this.#stopped) this.#judge(silences ?? []);
  }

  #judge(silences: readonly Silence[]): void {
    for (const part of ["vmm", "guest"] as const) {
      const missed = silences.some((silence) => silence.part === part);
      this.#misses[part] = missed ? this.#misses[part] + 1 : 0;
    }
    const silent = silences.filter(({ part }) => this.#misses[part] >= PROBES);
    this.#health = { silent, forMs: Math.round(this.#now() - this.#wellAt) };
    if (silences.length === 0) {
      if (this.#reported.size > 0) this.#options.report(this.#health);
      this.#reported.clear();
      this.#wellAt = this.#now();
    } else if (silent.some(({ part }) => !this.#reported.has(part))) {
      for (const { part } of silent) this.#reported.add(part);
      this.#options.report(this.#health);
    }
  }
}
