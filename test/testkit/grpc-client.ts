import {
  type ClientReadableStream,
  connectivityState,
  credentials,
  Client as GrpcConnection,
  Metadata,
} from "@grpc/grpc-js";
import type {
  MessageCodec,
  MethodDefinition,
  RequestOf,
  ResponseOf,
  ServiceDefinition,
} from "../../src/ttrpc/definition.ts";
import { messageOf } from "./message.ts";

export interface CallOptions {
  /** Default 60 s for unary calls, none for streams. */
  readonly timeoutMs?: number;
  /** Sent with the call; containerd expects its namespace in `containerd-namespace`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Cancels a unary call, as a disconnecting client does. */
  readonly signal?: AbortSignal;
}

/** A server's stream; leaving its `for await` loop cancels the call. */
type GrpcStream<T> = AsyncIterable<T> & { cancel(): void };

type Method<M extends MethodDefinition> = M["responseStream"] extends true
  ? (request: Partial<RequestOf<M>>, options?: CallOptions) => GrpcStream<ResponseOf<M>>
  : (request: Partial<RequestOf<M>>, options?: CallOptions) => Promise<ResponseOf<M>>;

/** The unary and server-streaming calls of a service; missing fields of a request have their zero value. */
export type GrpcClient<D extends ServiceDefinition> = {
  readonly [K in keyof D["methods"]]: Method<D["methods"][K]>;
};

const TIMEOUT_MS = 60_000;
const RECONNECT_MS = 50;
const MESSAGE_LIMIT = 64 << 20;

/** A gRPC connection over a unix socket. */
export class GrpcSocket {
  readonly #connection: GrpcConnection;
  readonly #metadata: Readonly<Record<string, string>>;

  /** `metadata` is sent with every call. */
  constructor(path: string, metadata: Readonly<Record<string, string>> = {}) {
    this.#metadata = metadata;
    this.#connection = new GrpcConnection(`unix://${path}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": MESSAGE_LIMIT,
      // The server is local: reconnecting often after a restart costs nothing.
      "grpc.initial_reconnect_backoff_ms": RECONNECT_MS,
      "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
    });
  }

  /** Call it while the server is down: resolves once it is connected again. */
  async reconnected(withinMs = 60_000): Promise<void> {
    const deadline = Date.now() + withinMs;
    const channel = this.#connection.getChannel();
    const settled = (resolve: () => void, reject: (error: Error) => void) => (error?: Error | null) =>
      error ? reject(error) : resolve();
    // The disconnect may not have been noticed yet.
    if (channel.getConnectivityState(false) === connectivityState.READY) {
      await new Promise<void>((resolve, reject) => {
        channel.watchConnectivityState(connectivityState.READY, deadline, settled(resolve, reject));
      });
    }
    await new Promise<void>((resolve, reject) => {
      this.#connection.waitForReady(deadline, settled(resolve, reject));
    });
  }

  close(): void {
    this.#connection.close();
  }

  /** Returns a client for a service of this socket. */
  client<D extends ServiceDefinition>(definition: D): GrpcClient<D> {
    const methods = Object.entries(definition.methods).map(([key, method]) => {
      const path = `/${definition.fullName}/${method.name}`;
      const call = (request: object, options: CallOptions = {}) =>
        method.responseStream
          ? this.#stream(path, method, request, options)
          : this.#unary(path, method, request, options);
      return [key, call];
    });
    return Object.fromEntries(methods) as GrpcClient<D>;
  }

  #unary(path: string, method: MethodDefinition, request: object, options: CallOptions): Promise<unknown> {
    const deadline = Date.now() + (options.timeoutMs ?? TIMEOUT_MS);
    return new Promise((resolve, reject) => {
      const cancel = () => call.cancel();
      const call = this.#connection.makeUnaryRequest(
        path,
        encoder(method),
        (bytes) => method.responseType.decode(bytes),
        request,
        metadataOf({ ...this.#metadata, ...options.metadata }),
        { deadline },
        (error, response) => {
          options.signal?.removeEventListener("abort", cancel);
          // A ServiceError: `code` is the status number, `details` the message.
          if (error) reject(error);
          else resolve(response);
        },
      );
      options.signal?.addEventListener("abort", cancel);
    });
  }

  #stream(
    path: string,
    method: MethodDefinition,
    request: object,
    options: CallOptions,
  ): GrpcStream<unknown> {
    const stream: ClientReadableStream<unknown> = this.#connection.makeServerStreamRequest(
      path,
      encoder(method),
      (bytes: Buffer) => method.responseType.decode(bytes),
      request,
      metadataOf({ ...this.#metadata, ...options.metadata }),
      options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs },
    );
    return stream;
  }
}

/**
 * The codecs read every field of a message. `fromPartial` adds missing ones at all levels; ts-proto generates
 * it for the clients' messages (test/testkit/proto), but not for those that hull serves (src/proto).
 */
function encoder(method: MethodDefinition) {
  const codec = method.requestType as MessageCodec<object> & { fromPartial?(value: object): object };
  const complete = (request: object) => codec.fromPartial?.(request) ?? messageOf(codec, request);
  return (request: object) => Buffer.from(codec.encode(complete(request)).finish());
}

function metadataOf(metadata: Readonly<Record<string, string>>): Metadata {
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  return sent;
}
