import { Deadline } from "../../core/deadline.ts";
import { type ErrorCode, HullError } from "../../core/errors.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { EventsDefinition } from "../../proto/generated/containerd/services/events/ttrpc/v1/events.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import { type Client, ClientConnection, createClient } from "../../ttrpc/client.ts";
import { PeerError } from "../../ttrpc/client-call.ts";
import { socketTransport } from "../../ttrpc/node/socket-transport.ts";
import { connectUnix } from "../../ttrpc/node/unix-socket.ts";
import type { ShimEvent } from "./shim-event.ts";

export interface PublisherOptions {
  /** containerd's ttrpc socket (TTRPC_ADDRESS); empty: events are logged only. */
  readonly address: string;
  readonly namespace: string;
  log(level: "debug" | "warn", message: string, fields?: Record<string, unknown>): void;
  /** Events kept while containerd is away. */
  readonly limit?: number;
  /** Milliseconds; shortened by tests. */
  readonly backoff?: { readonly first: number; readonly longest: number };
}

const LIMIT = 4096;
const BACKOFF = { first: 100, longest: 3_000 };
/** For connecting and for one call each, as containerd's own shims have it. */
const CALL_MS = 5_000;
/** Failures of a containerd that is away or restarting: try again for as long as it takes. */
const AWAY: readonly ErrorCode[] = [
  "Unavailable",
  "DeadlineExceeded",
  "PermissionDenied",
  "ResourceExhausted",
];
/** The same, where containerd itself says so. */
const OVERLOADED: readonly ErrorCode[] = ["Unavailable", "DeadlineExceeded", "ResourceExhausted"];
/** How often an event is sent that a containerd which is there fails to take, before it is given up. */
const REFUSALS = 5;

/**
 * Sends events to containerd strictly in their order: the oldest is sent until it has arrived, then the next. While
 * containerd is away they wait; when too many do, the newest are lost, counted and logged. An event may arrive twice
 * when its answer was lost, as with every shim.
 */
export class EventPublisher {
  readonly #options: PublisherOptions;
  readonly #queue: ShimEvent[] = [];
  readonly #connection = new Connection();
  readonly #limit: number;
  #lost = 0;
  #sending: Promise<void> | undefined;
  #pause: Deadline | undefined;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#limit = options.limit ?? LIMIT;
  }

  /** Events that have not arrived yet. */
  get pending(): number {
    return this.#queue.length;
  }

  /** Events lost so far because too many waited, or because containerd would not take them. */
  get lost(): number {
    return this.#lost;
  }

  /** What waits for containerd, for the state dump. */
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
      this.#lose(event, `${this.#limit} events are already waiting for containerd`);
      return;
    }
    this.#queue.push(event);
    this.#sending ??= this.#send();
  }

  /** Resolves when everything queued has arrived, or the deadline is over; then `pending` says what is left. */
  async flush(deadline: Deadline): Promise<void> {
    this.#pause?.cancel("flush");
    while (this.#sending && !deadline.reason) {
      await deadline.race(this.#sending).catch(() => undefined); // over: the caller sees `pending`
    }
  }

  /** Ends the connection; what still waits is dropped. */
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
        await this.#connection.forward(this.#options, event);
        if (wait > first) this.#tellReturn();
        this.#queue.shift();
        wait = refusals = 0;
      } catch (error) {
        if (this.#closed) break;
        const failure = HullError.from(error);
        if (isRefusal(failure) && ++refusals >= REFUSALS) {
          this.#queue.shift();
          this.#lose(event, failure.message);
          wait = refusals = 0;
          continue;
        }
        // A connection that containerd's restart has ended is noticed by a call that fails: again at once.
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

  /** Said once for each outage that was complained of. */
  #tellReturn(): void {
    this.#options.log(
      "warn",
      `containerd accepts events again: ${this.#queue.length} waited, ${this.#lost} lost so far`,
    );
  }

  #lose(event: ShimEvent, why: string): void {
    this.#lost++;
    this.#options.log("warn", `event ${event.topic} is lost (${this.#lost} so far): ${why}`);
  }
}

/** Whether containerd is there and does not take the event. An answer that makes no sense says that, too. */
function isRefusal(failure: HullError): boolean {
  let cause: unknown = failure;
  while (cause instanceof HullError) {
    if (cause instanceof PeerError) return !OVERLOADED.includes(cause.code);
    if (cause.code === "Internal") return true; // what broke the protocol, as the cause of the connection's end
    cause = cause.cause;
  }
  return !AWAY.includes(failure.code);
}

/** The connection to containerd: made at the first event, and again after it was lost. */
class Connection {
  #current:
    | { readonly connection: ClientConnection; readonly client: Client<typeof EventsDefinition> }
    | undefined;

  async forward({ address, namespace }: PublisherOptions, { topic, event, at }: ShimEvent): Promise<void> {
    const deadline = Deadline.after(CALL_MS, `forward ${topic} to containerd`);
    try {
      const client = this.#current?.client ?? (await this.#connect(address, deadline));
      const envelope = { timestamp: toTimestamp(at), namespace, topic, event };
      await client.forward(
        { envelope },
        { deadline, metadata: new Map([["containerd-namespace-ttrpc", [namespace]]]) },
      );
    } catch (error) {
      // One that answers too late may be dead: a new one costs little.
      if (HullError.from(error).code === "DeadlineExceeded") this.close();
      throw error;
    } finally {
      deadline.dispose();
    }
  }

  async #connect(address: string, deadline: Deadline): Promise<Client<typeof EventsDefinition>> {
    const connection = new ClientConnection(socketTransport(await connectUnix(address, deadline)), {
      peer: "containerd",
    });
    const client = createClient(connection, EventsDefinition);
    this.#current = { connection, client };
    void connection.closed.then(() => {
      if (this.#current?.connection === connection) this.#current = undefined;
    });
    return client;
  }

  close(): void {
    this.#current?.connection.close();
    this.#current = undefined;
  }
}
