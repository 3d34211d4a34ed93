import { Deadline } from "../core/deadline.ts";
import { HullError, internal, invalidArgument, resourceExhausted, unavailable } from "../core/errors.ts";
import { FrameChannel } from "./channel.ts";
import { decodeRequest, FrameEncoder, type RequestEnvelope } from "./envelope.ts";
import { Flag, FrameType } from "./frame.ts";
import { Inbox } from "./inbox.ts";
import type { CallContext, ServerRoute } from "./server-route.ts";
import type { Transport } from "./transport.ts";

interface ConnectionOwner {
  /** Returns the route. Throws Unimplemented if service or method is unknown. */
  lookup(service: string, method: string): ServerRoute;
  isStopping(): boolean;
  closed(): void;
  report(where: string, error: unknown): void;
  maxCalls: number;
  maxQueuedBytes: number | undefined;
}

/** A pending call. Once it is answered, what its handler still does is discarded. */
interface ServerCall {
  readonly id: number;
  readonly route: ServerRoute;
  readonly deadline: Deadline;
  /** The client's messages, if the client streams. */
  inbox: Inbox<unknown> | undefined;
  /** The client has closed its direction of the stream. */
  clientClosed: boolean;
  answered: boolean;
}

/** The server side of one connection. */
export class ServerConnection {
  readonly #owner: ConnectionOwner;
  readonly #channel: FrameChannel;
  readonly #encoder = new FrameEncoder();
  readonly #calls = new Map<number, ServerCall>();
  /** Ends with the connection. */
  readonly #life = Deadline.none();
  #running = 0;
  readonly #runningOf = new Map<ServerRoute, number>();
  #lastId = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(transport: Transport, owner: ConnectionOwner) {
    this.#owner = owner;
    this.#channel = new FrameChannel(
      transport,
      {
        frame: (id, type, flags, payload) => this.#receive(id, type, flags, payload),
        oversize: (id, type, length) => this.#oversize(id, type, length),
        closed: (error) => this.#closed(error),
      },
      {
        holdWhenCongested: true,
        ...(owner.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: owner.maxQueuedBytes }),
      },
    );
  }

  /** Resolves when no call is pending and every response is sent, or when the connection has ended. */
  async idle(): Promise<void> {
    if (this.#running > 0 && !this.#life.reason) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
    await this.#channel.flushed();
  }

  /** Resolves when the connection has ended. */
  get over(): Promise<void> {
    return new Promise((resolve) => this.#life.onEnd(() => resolve()));
  }

  close(): void {
    this.#channel.close();
  }

  #receive(id: number, type: number, flags: number, payload: Uint8Array): void {
    if (type !== FrameType.Request && type !== FrameType.Data) return; // for later versions of ttrpc
    if (id % 2 !== 1) {
      this.#refuse(id, invalidArgument("stream id of a client must be odd"));
    } else if (type === FrameType.Data) {
      this.#data(id, flags, payload);
    } else if (id <= this.#lastId) {
      this.#refuse(id, invalidArgument("stream id cannot be used again and must increase"));
    } else {
      this.#lastId = id;
      this.#request(id, flags, payload);
    }
  }

  #oversize(id: number, type: number, length: number): void {
    if (type !== FrameType.Request && type !== FrameType.Data) return;
    this.#refuse(id, resourceExhausted(`message of ${length} bytes is larger than ttrpc's limit`));
  }

  /** Answers a frame with an error, which also ends the call that the frame belongs to, if any. */
  #refuse(id: number, error: HullError): void {
    const call = this.#calls.get(id);
    if (call) this.#fail(call, error);
    else this.#channel.send(this.#encoder.status(id, error.status, error.message));
  }

  #request(id: number, flags: number, bytes: Uint8Array): void {
    let request: RequestEnvelope;
    let route: ServerRoute;
    let input: unknown;
    try {
      if (this.#owner.isStopping()) throw unavailable("server is shutting down");
      request = decode("request", "InvalidArgument", () => decodeRequest(bytes));
      route = this.#owner.lookup(request.service, request.method);
      // Counted per method, so that the Waits of clients that went away cannot block a Kill.
      if (this.#count(route) >= this.#owner.maxCalls) {
        throw resourceExhausted(
          `${this.#count(route)} calls of ${route.name} are in flight on this connection, the maximum`,
        );
      }
      if (!route.definition.requestStream)
        input = decodePayload(route, request.payload ?? bytes.subarray(0, 0));
    } catch (thrown) {
      this.#refuse(id, HullError.from(thrown));
      return;
    }
    const { requestStream, responseStream } = route.definition;
    const call: ServerCall = {
      id,
      route,
      deadline: this.#deadline(route, request.timeoutNano, requestStream || responseStream),
      inbox: undefined,
      clientClosed: (flags & Flag.RemoteOpen) === 0,
      answered: false,
    };
    if (requestStream) {
      this.#openInbox(call, request.payload);
      input = call.inbox;
    }
    this.#calls.set(id, call);
    this.#began(route, 1);
    const context = {
      deadline: call.deadline,
      metadata: request.metadata,
      service: request.service,
      connection: this.#life,
    };
    void this.#run(call, input, context);
  }

  #count(route: ServerRoute): number {
    return this.#runningOf.get(route) ?? 0;
  }

  #began(route: ServerRoute, calls: 1 | -1): void {
    this.#running += calls;
    this.#runningOf.set(route, this.#count(route) + calls);
  }

  #deadline(route: ServerRoute, timeoutNano: number, streams: boolean): Deadline {
    const ms = timeoutNano === 0 ? Number.POSITIVE_INFINITY : Math.max(0, timeoutNano / 1e6);
    if (streams) return this.#life.shorter(ms, route.name);
    return ms === Number.POSITIVE_INFINITY ? Deadline.none() : Deadline.after(ms, route.name);
  }

  #openInbox(call: ServerCall, first: Uint8Array | undefined): void {
    const inbox = new Inbox<unknown>(
      this.#channel,
      (error) => this.#fail(call, error),
      () => undefined,
    );
    call.inbox = inbox;
    call.deadline.onEnd((reason) => inbox.fail(reason));
    if (first && first.length > 0) this.#deliver(call, inbox, first);
    if (call.clientClosed) inbox.end();
  }

  #data(id: number, flags: number, payload: Uint8Array): void {
    const call = this.#calls.get(id);
    if (!call || call.answered) {
      this.#refuse(id, invalidArgument("stream is no longer active"));
      return;
    }
    const { inbox } = call;
    if (!inbox || call.clientClosed) {
      this.#fail(call, invalidArgument("stream accepts no data: the client closed it"));
      return;
    }
    if ((flags & Flag.NoData) === 0) this.#deliver(call, inbox, payload);
    if ((flags & Flag.RemoteClosed) === 0) return;
    if (payload.length > 0)
      this.#fail(call, invalidArgument("the frame that closes a stream cannot carry data"));
    inbox.end();
  }

  #deliver(call: ServerCall, inbox: Inbox<unknown>, payload: Uint8Array): void {
    try {
      inbox.push(decodePayload(call.route, payload), payload.length);
    } catch (thrown) {
      this.#fail(call, HullError.from(thrown));
    }
  }

  async #run(call: ServerCall, input: unknown, context: CallContext): Promise<void> {
    const { handler, definition } = call.route;
    try {
      if (definition.responseStream) {
        await this.#sendAll(call, handler(input, context) as AsyncIterable<unknown>);
      } else {
        const response = await handler(input, context);
        if (!call.answered)
          this.#answer(call, this.#encoder.response(call.id, definition.responseType, response));
      }
    } catch (thrown) {
      if (!(thrown instanceof HullError)) this.#owner.report(call.route.name, thrown);
      this.#fail(call, HullError.from(thrown));
    } finally {
      call.deadline.dispose();
      this.#began(call.route, -1);
      if (this.#running === 0) this.#wake();
    }
  }

  /** Sends what the handler yields, as fast as the client reads it, until the handler or the call ends. */
  async #sendAll(call: ServerCall, responses: AsyncIterable<unknown>): Promise<void> {
    const iterator = responses[Symbol.asyncIterator]();
    try {
      while (!call.answered) {
        const next = await call.deadline.race(iterator.next());
        if (call.answered) break;
        if (next.done) {
          this.#answer(call, this.#encoder.end(call.id));
          return;
        }
        this.#channel.send(this.#encoder.data(call.id, call.route.definition.responseType, next.value));
        await call.deadline.race(this.#channel.ready());
      }
    } finally {
      // Not awaited: the handler may be waiting for something that never happens.
      iterator.return?.().then(undefined, (error) => this.#owner.report(call.route.name, error));
    }
  }

  #fail(call: ServerCall, error: HullError): void {
    if (call.answered) return;
    this.#answer(call, this.#encoder.status(call.id, error.status, error.message));
    call.inbox?.fail(error);
    if (call.route.definition.requestStream || call.route.definition.responseStream) {
      call.deadline.cancel(error.message);
    }
  }

  #answer(call: ServerCall, frame: Uint8Array): void {
    call.answered = true;
    this.#calls.delete(call.id);
    this.#channel.send(frame);
  }

  #wake(): void {
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #closed(error: Error | undefined): void {
    if (error) this.#owner.report("connection", error);
    for (const call of this.#calls.values()) call.answered = true;
    this.#calls.clear();
    this.#life.cancel("connection is lost");
    this.#wake();
    this.#owner.closed();
  }
}

function decodePayload(route: ServerRoute, payload: Uint8Array): unknown {
  return decode(`payload of ${route.name}`, "Internal", () => route.definition.requestType.decode(payload));
}

/**
 * Decodes what a client sent. As in Go's server, a bad request is InvalidArgument and a bad payload Internal.
 */
function decode<T>(what: string, code: "InvalidArgument" | "Internal", read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    const message = `${what} cannot be decoded: ${HullError.from(thrown).message}`;
    throw code === "Internal" ? internal(message) : invalidArgument(message);
  }
}
