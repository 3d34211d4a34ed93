import { unimplemented } from "../core/errors.ts";
import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "./definition.ts";
import { ServerConnection } from "./server-connection.ts";
import type { CallContext, ServerRoute } from "./server-route.ts";
import type { Transport } from "./transport.ts";

type UnaryHandler<Req, Resp> = (request: Req, context: CallContext) => Promise<Resp> | Resp;
type ServerStreamHandler<Req, Resp> = (request: Req, context: CallContext) => AsyncIterable<Resp>;
type ClientStreamHandler<Req, Resp> = (
  requests: AsyncIterable<Req>,
  context: CallContext,
) => Promise<Resp> | Resp;
type BidiHandler<Req, Resp> = (requests: AsyncIterable<Req>, context: CallContext) => AsyncIterable<Resp>;

type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? BidiHandler<RequestOf<M>, ResponseOf<M>>
    : ClientStreamHandler<RequestOf<M>, ResponseOf<M>>
  : M["responseStream"] extends true
    ? ServerStreamHandler<RequestOf<M>, ResponseOf<M>>
    : UnaryHandler<RequestOf<M>, ResponseOf<M>>;

/** The methods of a service; one without a handler answers Unimplemented. */
export type Handlers<D extends ServiceDefinition> = {
  readonly [K in keyof D["methods"]]?: Handler<D["methods"][K]>;
};

/** The limits of a server, and where it reports bugs. */
export interface ServerOptions {
  /**
   * Called with errors that are bugs (a handler threw something other than a HullError) and broken
   * connections.
   */
  report?: (where: string, error: unknown) => void;
  /** Pending calls per method and connection; more are answered with ResourceExhausted. */
  maxCalls?: number;
  /** Bytes of responses queued for a client that does not read, at which its connection is closed. */
  maxQueuedBytes?: number;
}

/** A client cannot cancel a call: each abandoned Wait counts until the process exits. */
const MAX_CALLS = 10_000;

/** Serves ttrpc services on any number of connections. Calls run concurrently. */
export class Server {
  readonly #services = new Map<string, Map<string, ServerRoute>>();
  readonly #connections = new Set<ServerConnection>();
  readonly #options: ServerOptions;
  #stopping = false;

  constructor(options: ServerOptions = {}) {
    this.#options = options;
  }

  /**
   * Adds a service under its own name, or under the given full names (`containerd.task.v2.Task` is also v3).
   * Throws if a name is taken, which is a bug.
   */
  register<D extends ServiceDefinition>(
    definition: D,
    handlers: Handlers<D>,
    options: { as?: string[] } = {},
  ): void {
    for (const service of options.as ?? [definition.fullName]) {
      if (this.#services.has(service))
        throw new Error(`ttrpc server: service ${service} is registered twice`);
      const routes = new Map<string, ServerRoute>();
      for (const [key, method] of Object.entries(definition.methods)) {
        const handler = (handlers as Record<string, ServerRoute["handler"] | undefined>)[key];
        const name = `${service}/${method.name}`;
        routes.set(method.name, { name, definition: method, handler: handler ?? (() => refuse(name)) });
      }
      this.#services.set(service, routes);
    }
  }

  /** Takes over a transport and serves it until it ends. During a shutdown it is closed at once. */
  serve(transport: Transport): void {
    if (this.#stopping) {
      transport.close();
      return;
    }
    const connection = new ServerConnection(transport, {
      lookup: (service, method) => this.#lookup(service, method),
      isStopping: () => this.#stopping,
      closed: () => void this.#connections.delete(connection),
      report: this.#options.report ?? (() => undefined),
      maxCalls: this.#options.maxCalls ?? MAX_CALLS,
      maxQueuedBytes: this.#options.maxQueuedBytes,
    });
    this.#connections.add(connection);
  }

  /** The number of connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /**
   * Refuses new calls with Unavailable, waits up to `graceMs` for pending ones, sends their responses, waits
   * up to `hangUpMs` for the clients to hang up, and closes all connections. Handlers that still run are
   * abandoned. A handler must not await this without a timeout, because it would wait for its own call. The
   * caller closes the listener before.
   */
  async shutdown(graceMs: number, hangUpMs = 0): Promise<void> {
    this.#stopping = true;
    const connections = [...this.#connections];
    await atMost(graceMs, Promise.all(connections.map((connection) => connection.idle())));
    await atMost(hangUpMs, Promise.all(connections.map((connection) => connection.over)));
    for (const connection of [...this.#connections]) connection.close();
  }

  /** Throws Unimplemented with the messages of Go's server, which containerd's clients know. */
  #lookup(service: string, method: string): ServerRoute {
    const routes = this.#services.get(service);
    if (!routes) throw unimplemented(`service ${service}`);
    const route = routes.get(method);
    if (!route) throw unimplemented(`method ${method}`);
    return route;
  }
}

/** Waits for `done`, at most `ms`. */
async function atMost(ms: number, done: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([done, late]);
  clearTimeout(timer);
}

function refuse(name: string): never {
  throw unimplemented(`${name} is not supported by this server`);
}
