import type { Deadline } from "../core/deadline.ts";
import { codeOfStatus, HullError, internal, resourceExhausted, unavailable } from "../core/errors.ts";
import { FrameChannel } from "./channel.ts";
import { type Call, decodeAnswer, PeerError, StreamCall, UnaryCall } from "./client-call.ts";
import type {
  MessageCodec,
  Metadata,
  MethodDefinition,
  RequestOf,
  ResponseOf,
  ServiceDefinition,
} from "./definition.ts";
import { decodeResponse, encodeRoute, FrameEncoder, type Route } from "./envelope.ts";
import { Flag, FrameType } from "./frame.ts";
import type { Transport } from "./transport.ts";

const MAX_STREAM_ID = 0xffffffff;
/** The default maximum of pending calls per connection. */
const MAX_CALLS = 4096;

interface CallOptions {
  /**
   * Ends the call; its remaining time is sent along. Without one the call lasts as long as the connection.
   */
  deadline?: Deadline | undefined;
  metadata?: Metadata | undefined;
}

/** The limits of a client connection, and how its errors name the peer. */
export interface ClientOptions {
  /** Names the peer in errors, such as "the guest agent". */
  peer?: string;
  /**
   * Called when the connection is lost: what else is known about the cause, such as the VM's last console
   * lines.
   */
  describeLoss?: () => string;
  /** The maximum of pending calls; more fail with ResourceExhausted. */
  maxCalls?: number;
  maxQueuedBytes?: number;
}

/** A stream on which the client sends one message at a time. */
interface SendStream<Req> {
  /** Sends one message; resolves when there is capacity for the next. Rejects if the call has ended. */
  send(message: Req): Promise<void>;
  /** Abandons the call. ttrpc has no cancel message: the server only learns that no more messages follow. */
  cancel(): void;
}

/** Many requests, one response. */
interface ClientStream<Req, Resp> extends SendStream<Req> {
  /** Ends the requests and waits for the response. */
  finish(): Promise<Resp>;
}

/** Many requests, many responses, which are iterated over. */
interface BidiStream<Req, Resp> extends SendStream<Req>, AsyncIterable<Resp> {
  /** Ends the requests; responses may still follow. */
  closeSend(): void;
}

type ClientMethod<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (options?: CallOptions) => BidiStream<RequestOf<M>, ResponseOf<M>>
    : (options?: CallOptions) => ClientStream<RequestOf<M>, ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>;

/**
 * A service's typed methods. They fail with a HullError: the server's status, the deadline's reason, or
 * Unavailable.
 */
export type Client<D extends ServiceDefinition> = {
  [K in keyof D["methods"]]: ClientMethod<D["methods"][K]>;
};

/** What the client needs for calling a method. */
interface ClientRoute {
  /** Service and method, for errors. */
  readonly name: string;
  readonly route: Route;
  readonly method: MethodDefinition;
}

/**
 * The client side of a ttrpc connection: any number of concurrent calls, answered in any order. When the
 * connection is lost, every pending call fails with Unavailable and the reason. A server that violates the
 * protocol (a frame that is too large, cannot be decoded or belongs to no call) is disconnected.
 */
export class ClientConnection {
  /** Resolves when the connection has ended, with the error that ended it, if any. */
  readonly closed: Promise<Error | undefined>;
  readonly #encoder = new FrameEncoder();
  readonly #channel: FrameChannel;
  readonly #peer: string;
  readonly #describeLoss: (() => string) | undefined;
  readonly #maxCalls: number;
  readonly #calls = new Map<number, Call>();
  #nextId = 1;
  #lost: HullError | undefined;

  constructor(transport: Transport, options: ClientOptions = {}) {
    this.#peer = options.peer ?? "the ttrpc server";
    this.#describeLoss = options.describeLoss;
    this.#maxCalls = options.maxCalls ?? MAX_CALLS;
    let resolveClosed!: (error: Error | undefined) => void;
    this.closed = new Promise((resolve) => {
      resolveClosed = resolve;
    });
    this.#channel = new FrameChannel(
      transport,
      {
        frame: (streamId, type, flags, payload) => this.#receive(streamId, type, flags, payload),
        closed: (error) => {
          this.#lose(error);
          resolveClosed(error);
        },
      },
      options.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: options.maxQueuedBytes },
    );
  }

  /** The number of pending calls. */
  get pending(): number {
    return this.#calls.size;
  }

  /** Closes the connection. Pending calls fail with Unavailable. */
  close(): void {
    this.#channel.close();
  }

  /** Makes one unary call. */
  unary<Req, Resp>(
    route: ClientRoute,
    requestType: MessageCodec<Req>,
    responseType: MessageCodec<Resp>,
    request: Req,
    options: CallOptions = {},
  ): Promise<Resp> {
    return new Promise<Resp>((resolve, reject) => {
      const call = new UnaryCall(responseType, resolve, reject);
      this.#start(call, route, 0, requestType, request, options);
    });
  }

  /** Starts a call in which at least one side streams. `request` is undefined if the client does. */
  stream<Req, Resp>(
    route: ClientRoute,
    requestType: MessageCodec<Req>,
    responseType: MessageCodec<Resp>,
    request: { message: Req } | undefined,
    options: CallOptions = {},
  ): StreamCall<Req, Resp> {
    const call = new StreamCall(this.#channel, this.#encoder, route.method, requestType, responseType);
    const flags = request ? Flag.RemoteClosed : Flag.RemoteOpen;
    if (request) this.#start(call, route, flags, requestType, request.message, options);
    else this.#start(call, route, flags, undefined, undefined, options);
    return call;
  }

  /** Registers the call and sends its request; if that fails, the call does. */
  #start<Req>(
    call: Call,
    { name, route }: ClientRoute,
    flags: number,
    codec: MessageCodec<Req> | undefined,
    request: Req,
    { deadline, metadata }: CallOptions,
  ): void {
    call.name = name;
    try {
      this.#check();
      deadline?.check();
      const id = this.#nextId;
      const frame = this.#encoder.request(id, flags, route, codec, request, timeoutNano(deadline), metadata);
      this.#nextId = id + 2;
      call.id = id;
      this.#calls.set(id, call);
      call.released = () => this.#calls.delete(id);
      call.detachDeadline = deadline?.onEnd((reason) => call.fail(reason));
      this.#channel.send(frame);
    } catch (thrown) {
      call.fail(HullError.from(thrown, "InvalidArgument"));
    }
  }

  #check(): void {
    if (this.#lost) throw this.#lost;
    if (this.#calls.size >= this.#maxCalls) {
      throw resourceExhausted(`${this.#calls.size} calls are in flight to ${this.#peer}, the maximum`);
    }
    if (this.#nextId > MAX_STREAM_ID) {
      throw unavailable(`all stream ids of the connection to ${this.#peer} are used; connect again`);
    }
  }

  #receive(streamId: number, type: number, flags: number, payload: Uint8Array): void {
    const call = this.#calls.get(streamId);
    try {
      if (type !== FrameType.Data && type !== FrameType.Response) throw internal(`a frame of type ${type}`);
      if (!call) this.#checkOver(streamId);
      else if (type === FrameType.Data) call.data(flags, payload);
      else this.#respond(call, payload);
    } catch (thrown) {
      // After one frame that makes no sense, the next cannot be trusted either.
      const { message } = HullError.from(thrown);
      this.#channel.close(internal(`it violated the protocol: ${call ? `${call.name}: ` : ""}${message}`));
    }
  }

  /**
   * A late frame of an ended call (its deadline expired) is ignored; a stream that was never opened is a
   * violation.
   */
  #checkOver(streamId: number): void {
    if (streamId % 2 === 1 && streamId < this.#nextId) return;
    throw internal(`a frame of stream ${streamId}, which was never opened`);
  }

  #respond(call: Call, payload: Uint8Array): void {
    const response = decodeAnswer(() => decodeResponse(payload));
    if (response.code === 0) {
      call.response(response.payload);
      return;
    }
    const code = codeOfStatus(response.code);
    if (code === undefined) throw internal(`a status of code ${response.code}`);
    call.fail(new PeerError(code, response.message));
  }

  #lose(cause: Error | undefined): void {
    const details = this.#lossDetails();
    const reason = cause ? HullError.from(cause).message : "closed";
    this.#lost = new HullError(
      "Unavailable",
      `connection to ${this.#peer} is lost: ${reason}${details === "" ? "" : `: ${details}`}`,
      { cause },
    );
    for (const call of [...this.#calls.values()]) call.fail(this.#lost);
  }

  /** The calls must fail even if `describeLoss` throws. */
  #lossDetails(): string {
    try {
      return this.#describeLoss?.() ?? "";
    } catch (thrown) {
      return `(no details: ${HullError.from(thrown).message})`;
    }
  }
}

/** The remaining time as ttrpc sends it: in nanoseconds, at least 1; 0 means no timeout. */
function timeoutNano(deadline: Deadline | undefined): number {
  const ms = deadline?.remainingMs ?? Number.POSITIVE_INFINITY;
  if (ms === Number.POSITIVE_INFINITY) return 0;
  return Math.min(Math.max(1, Math.ceil(ms * 1e6)), Number.MAX_SAFE_INTEGER);
}

/** Creates a typed client of a service. Clients of several services may share one connection. */
export function createClient<D extends ServiceDefinition>(
  connection: ClientConnection,
  definition: D,
): Client<D> {
  const client: Record<string, unknown> = {};
  for (const [key, method] of Object.entries(definition.methods)) {
    client[key] = createMethod(connection, definition.fullName, method);
  }
  return client as Client<D>;
}

function createMethod(connection: ClientConnection, service: string, method: MethodDefinition): unknown {
  const { requestType, responseType } = method;
  const route = { name: `${service}/${method.name}`, route: encodeRoute(service, method.name), method };
  if (method.requestStream) {
    return (options?: CallOptions) => connection.stream(route, requestType, responseType, undefined, options);
  }
  if (method.responseStream) {
    return (request: unknown, options?: CallOptions) =>
      connection.stream(route, requestType, responseType, { message: request }, options);
  }
  return (request: unknown, options?: CallOptions) =>
    connection.unary(route, requestType, responseType, request, options);
}
