import { Deadline } from "../../core/deadline.ts";
import { type ErrorCode, HullError } from "../../core/errors.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { PeerError } from "../../ttrpc/client-call.ts";
import { ContainerdConnection } from "./containerd-connection.ts";
import type { ShimEvent } from "./shim-event.ts";

/** What a publisher needs. */
interface PublisherOptions {
  /** The path of containerd's ttrpc socket (TTRPC_ADDRESS). If it is empty, events are only logged. */
  readonly address: string;
  readonly namespace: string;
  log(level: "debug" | "warn", message: string, fields?: Record<string, unknown>): void;
  /** How many events are kept while containerd is down. */
  readonly limit?: number;
  /** In milliseconds; shortened by tests. */
  readonly backoff?: { readonly first: number; readonly longest: number };
}

const LIMIT = 4096;
const BACKOFF = { first: 100, longest: 3_000 };
/** Failures to reach a containerd that is down or restarting: retried without a limit. */
const DOWN: readonly ErrorCode[] = [
  "Unavailable",
  "DeadlineExceeded",
  "PermissionDenied",
  "ResourceExhausted",
];
/** Errors returned by containerd that are retried without a limit, too. */
const OVERLOADED: readonly ErrorCode[] = ["Unavailable", "DeadlineExceeded", "ResourceExhausted"];
/** How often an event that containerd refuses is sent before it is dropped. */
const REFUSALS = 5;

/**
 * Sends events to containerd strictly in order: each is sent until it was accepted, then the next. While containerd is
 * down they wait; beyond the limit new ones are dropped, counted and logged. If a response is lost, the event arrives
 * twice, as with every shim.
 */
export class EventPublisher {
  readonly #options: PublisherOptions;
  readonly #queue: ShimEvent[] = [];
  readonly #connection: ContainerdConnection;
  readonly #limit: number;
  #lost = 0;
  #sending: Promise<void> | undefined;
  #pause: Deadline | undefined;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#limit = options.limit ?? LIMIT;
    this.#connection = new ContainerdConnection(options.address, options.namespace);
  }

  /** How many events were not accepted yet. */
  get pending(): number {
    return this.#queue.length;
  }

  /** How many events were dropped so far, because too many waited or containerd refused them. */
  get lost(): number {
    return this.#lost;
  }

  /** Returns what waits for containerd, for the state dump. */
  describe(): Snapshot {
    return { pending: this.pending, lost: this.#lost, next: this.#queue[0]?.topic };
  }

  /** Queues an event. Never throws and never waits. */
  publish(event: ShimEvent): void {
    if (this.#options.address === "" || this.#closed) {
      this.#options.log("debug", `event ${event.topic}`, { typeUrl: event.event.typeUrl });
      return;
    }
    if (this.#queue.length >= this.#limit) {
      this.#drop(event, `${this.#limit} events are already waiting for containerd`);
      return;
    }
    this.#queue.push(event);
    this.#sending ??= this.#send();
  }

  /** Resolves when all queued events were accepted or the deadline ends; `pending` is the number left then. */
  async flush(deadline: Deadline): Promise<void> {
    this.#pause?.cancel("flush");
    while (this.#sending && !deadline.reason) {
      await deadline.race(this.#sending).catch(() => undefined); // the deadline ended
    }
  }

  /** Closes the connection and drops what still waits. */
  close(): void {
    this.#closed = true;
    if (this.#queue.length > 0) {
      this.#options.log("warn", `${this.#queue.length} events could not be delivered to containerd`);
    }
    this.#queue.length = 0;
    this.#pause?.cancel("closed");
    this.#connection.close();
  }

  async #send(): Promise<void> {
    const { first, longest } = this.#options.backoff ?? BACKOFF;
    let wait = 0;
    let refusals = 0;
    for (let event = this.#queue[0]; event; event = this.#queue[0]) {
      try {
        await this.#connection.forward(event);
        if (wait > first) this.#logRecovery();
        this.#queue.shift();
        wait = refusals = 0;
      } catch (error) {
        if (this.#closed) break;
        const failure = HullError.from(error);
        if (isRefusal(failure) && ++refusals >= REFUSALS) {
          this.#queue.shift();
          this.#drop(event, failure.message);
          wait = refusals = 0;
          continue;
        }
        // The first failure is retried at once: after a restart of containerd the old connection fails.
        if (wait > 0) await this.#sleep(wait);
        if (wait === first)
          this.#options.log("warn", `events are waiting for containerd: ${failure.message}`);
        wait = wait === 0 ? first : Math.min(wait * 2, longest);
      }
    }
    this.#sending = undefined;
  }

  async #sleep(ms: number): Promise<void> {
    const pause = Deadline.after(ms);
    this.#pause = pause;
    await new Promise<void>((resolve) => pause.onEnd(() => resolve()));
    this.#pause = undefined;
  }

  /** Once per outage that was logged. */
  #logRecovery(): void {
    this.#options.log(
      "warn",
      `containerd accepts events again: ${this.#queue.length} waited, ${this.#lost} lost so far`,
    );
  }

  #drop(event: ShimEvent, why: string): void {
    this.#lost++;
    this.#options.log("warn", `event ${event.topic} is lost (${this.#lost} so far): ${why}`);
  }
}

/** Returns whether containerd is up and refuses the event. An invalid response counts as a refusal. */
function isRefusal(failure: HullError): boolean {
  let cause: unknown = failure;
  while (cause instanceof HullError) {
    if (cause instanceof PeerError) return !OVERLOADED.includes(cause.code);
    if (cause.code === "Internal") return true; // a protocol violation that closed the connection
    cause = cause.cause;
  }
  return !DOWN.includes(failure.code);
}
