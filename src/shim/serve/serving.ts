import type { PendingCalls } from "../../core/pending-calls.ts";
import type { ServiceDefinition } from "../../ttrpc/definition.ts";
import { listen } from "../../ttrpc/node/unix-socket.ts";
import type { Handlers } from "../../ttrpc/server.ts";
import { Server } from "../../ttrpc/server.ts";

/** A service that the daemon serves, whatever the protocol. */
export interface ServedService {
  readonly definition: ServiceDefinition;
  readonly handlers: Handlers<ServiceDefinition>;
  /** The full names it answers to. */
  readonly names: readonly string[];
}

/** A server at work. */
export interface Serving {
  /** Takes no further connection. */
  close(): void;
  /**
   * Lets the calls under way be answered, at most `graceMs` milliseconds, and then clients hang up, at most as long;
   * closes every connection that is left.
   */
  shutdown(graceMs: number): Promise<void>;
}

/** Told of what a handler throws that is no HullError: a bug. */
export type Report = (where: string, error: unknown) => void;

/** A service for the list, its types checked against each other. */
export function served<D extends ServiceDefinition>(
  definition: D,
  handlers: Handlers<D>,
  names: readonly string[] = [definition.fullName],
): ServedService {
  return { definition, handlers: handlers as Handlers<ServiceDefinition>, names };
}

/** The service, with each call noted while it is under way: `Delete c1`. None of its methods streams. */
export function noted(service: ServedService, calls: PendingCalls): ServedService {
  const handlers = Object.entries(service.handlers).map(([key, handler]) => {
    const name = service.definition.methods[key]?.name ?? key;
    const note = async (request: Subject, context: never) => {
      const { id, sandboxId, execId } = request;
      const subject = [id ?? sandboxId, execId].filter((part) => part).join("/");
      const done = calls.begin(`${name} ${subject}`.trimEnd());
      try {
        return await (handler as Handler)(request, context);
      } finally {
        done();
      }
    };
    return [key, note];
  });
  return { ...service, handlers: Object.fromEntries(handlers) };
}

type Handler = (request: Subject, context: never) => unknown;
/** By which requests name what they are about. */
interface Subject {
  readonly id?: string;
  readonly sandboxId?: string;
  readonly execId?: string;
}

/** Serves ttrpc on a listening descriptor. */
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
    // Go's client may take the end of a connection for that of its call when it finds both at once (its `dispatch`).
    shutdown: (graceMs) => server.shutdown(graceMs, graceMs),
  };
}
