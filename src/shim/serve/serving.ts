import type { PendingCalls } from "../../core/pending-calls.ts";
import type { ServiceDefinition } from "../../ttrpc/definition.ts";
import { listen } from "../../ttrpc/node/unix-socket.ts";
import type { Handlers } from "../../ttrpc/server.ts";
import { Server } from "../../ttrpc/server.ts";

/** A service to serve, over ttrpc or gRPC. */
export interface ServedService {
  readonly definition: ServiceDefinition;
  readonly handlers: Handlers<ServiceDefinition>;
  /** The full names that it is served under. */
  readonly names: readonly string[];
}

/** A running server. */
export interface Serving {
  /** Accepts no further connections. */
  close(): void;
  /**
   * Waits for pending calls, then for clients to disconnect, at most `graceMs` milliseconds each. Then closes the
   * remaining connections.
   */
  shutdown(graceMs: number): Promise<void>;
}

/** Gets what a handler throws that is not a HullError, which is a bug. */
export type Report = (where: string, error: unknown) => void;

/** Returns a service to serve, after checking at compile time that its handlers fit its definition. */
export function served<D extends ServiceDefinition>(
  definition: D,
  handlers: Handlers<D>,
  names: readonly string[] = [definition.fullName],
): ServedService {
  return { definition, handlers: handlers as Handlers<ServiceDefinition>, names };
}

/** Returns the service with every pending call in `calls`, such as `Delete c1`. Its methods must all be unary. */
export function tracked(service: ServedService, calls: PendingCalls): ServedService {
  const handlers = Object.entries(service.handlers).map(([key, handler]) => {
    const name = service.definition.methods[key]?.name ?? key;
    const track = async (request: Subject, context: never) => {
      const { id, sandboxId, execId } = request;
      const subject = [id ?? sandboxId, execId].filter((part) => part).join("/");
      const done = calls.begin(`${name} ${subject}`.trimEnd());
      try {
        return await (handler as Handler)(request, context);
      } finally {
        done();
      }
    };
    return [key, track];
  });
  return { ...service, handlers: Object.fromEntries(handlers) };
}

type Handler = (request: Subject, context: never) => unknown;
/** The fields in which requests name their object. */
interface Subject {
  readonly id?: string;
  readonly sandboxId?: string;
  readonly execId?: string;
}

/** Serves the services over ttrpc on a listening descriptor or a path. */
export async function serveTtrpc(
  services: readonly ServedService[],
  where: { fd: number } | { path: string },
  report: Report,
): Promise<Serving> {
  const server = new Server({ report });
  for (const { definition, handlers, names } of services) {
    server.register(definition, handlers, { as: [...names] });
  }
  const listener = await listen(server, where);
  return {
    close: () => void listener.close(),
    // If response and end of connection arrive at once, Go's client may fail the call (ttrpc client.go, `dispatch`).
    shutdown: (graceMs) => server.shutdown(graceMs, graceMs),
  };
}
