import { Deadline } from "../core/deadline.ts";

/**
 * A component that is probed: without the VMM, the VM cannot be changed or paused; without the guest, nothing
 * works.
 */
export type Component = "vmm" | "guest";

/** A component that does not answer, or reports a failure. */
export interface FailedProbe {
  readonly component: Component;
  /** For messages: `the guest agent does not answer`. */
  readonly text: string;
  /** Set if a process on the host is stopped by a signal. */
  readonly stopped?: true;
}

/** A watchdog's finding. */
export interface Health {
  /** The components that do not answer; empty if all do. */
  readonly unresponsive: readonly FailedProbe[];
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
  probe(deadline: Deadline): Promise<readonly FailedProbe[] | undefined>;
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
  readonly #reported = new Set<Component>();
  #wellAt: number;
  #health: Health = { unresponsive: [], forMs: 0 };
  #timer: NodeJS.Timeout | undefined;
  #probing: Deadline | undefined;
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
    this.#probing?.cancel("the watchdog is stopped");
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
      await this.#probe();
      if (this.#stopped || (this.#misses.vmm !== 1 && this.#misses.guest !== 1)) break;
    }
    this.#schedule();
  }

  async #probe(): Promise<void> {
    const { timeoutMs, probe } = this.#options;
    const failed = await Deadline.within(timeoutMs, "a health check", (limit) => {
      this.#probing = limit;
      return probe(limit);
    });
    this.#probing = undefined;
    if (!this.#stopped) this.#judge(failed ?? []);
  }

  #judge(failed: readonly FailedProbe[]): void {
    for (const component of ["vmm", "guest"] as const) {
      const missed = failed.some((probe) => probe.component === component);
      this.#misses[component] = missed ? this.#misses[component] + 1 : 0;
    }
    const unresponsive = failed.filter(({ component }) => this.#misses[component] >= PROBES);
    this.#health = { unresponsive, forMs: Math.round(this.#now() - this.#wellAt) };
    if (failed.length === 0) {
      if (this.#reported.size > 0) this.#options.report(this.#health);
      this.#reported.clear();
      this.#wellAt = this.#now();
    } else if (unresponsive.some(({ component }) => !this.#reported.has(component))) {
      for (const { component } of unresponsive) this.#reported.add(component);
      this.#options.report(this.#health);
    }
  }
}
