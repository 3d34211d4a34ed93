import { Deadline } from "../core/deadline.ts";

/**
 * A component that is probed: without the VMM, the VM cannot be changed or paused; without the guest, nothing
 * works.
 */
export type Part = "vmm" | "guest";

/** A component that does not answer, or reports a failure. */
export interface Silence {
  readonly part: Part;
  /** For messages: `the guest agent does not answer`. */
  readonly text: string;
  /** Set if a process on the host is stopped by a signal. */
  readonly stopped?: true;
}

/** A watchdog's finding. */
export interface Health {
  /** The components that do not answer; empty if all do. */
  readonly silent: readonly Silence[];
  /** Milliseconds since all components last answered; after a recovery, the length of the outage. */
  readonly forMs: number;
}

/** What a watchdog probes, and when. */
export interface WatchdogOptions {
  /** Milliseconds between two probes, plus or minus a quarter; 0 = never. */
  readonly intervalMs: number;
  /** Timeout of a probe, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Probes all components; resolves by the deadline with those that have not answered, or undefined if the VM
   * is paused. Never rejects.
   */
  look(deadline: Deadline): Promise<readonly Silence[] | undefined>;
  /** Called when a component has become unresponsive, and when all answer again. */
  report(health: Health): void;
  /** A clock in milliseconds, for tests. */
  readonly now?: () => number;
  /** Random numbers from 0 to 1, for tests. */
  readonly random?: () => number;
}

/**
 * Failed probes before a report. One may fail if host or shim were stalled, so that the answer was read too
 * late.
 */
const PROBES = 2;

/**
 * Probes a VM at random intervals, so that a node's pods do not probe together, and one probe at a time. A
 * component that fails two in a row is reported once, and so is the recovery of all.
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

  /** The finding of the last probe. */
  get health(): Health {
    return this.#health;
  }

  /** Stops it and cancels a pending probe. Idempotent. */
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

  /** Repeats a failed probe at once. */
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
