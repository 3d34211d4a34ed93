import { createServer, type ListenOptions, type Socket } from "node:net";
import type * as Grpc from "@grpc/grpc-js";
import { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import type { MethodDefinition } from "../../ttrpc/definition.ts";
import type { CallContext } from "../../ttrpc/server-route.ts";
import type { Report, ServedService, Serving } from "./serving.ts";

type Handler = (request: unknown, context: CallContext) => unknown;
type Call = Grpc.ServerUnaryCall<unknown, unknown>;

/**
 * Serves the services over gRPC on a listening descriptor or a path. Only here grpc-js is loaded, which takes
 * 6 MiB.
 */
export async function serveGrpc(
  services: readonly ServedService[],
  where: { fd: number } | { path: string },
  report: Report,
): Promise<Serving> {
  const grpc = await import("@grpc/grpc-js");
  const server = new grpc.Server();
  for (const service of services) {
    for (const name of service.names) addService(grpc, server, name, service, report);
  }
  // grpc-js cannot listen on a descriptor, but accepts connections.
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy()); // ends its calls
    injector.injectConnection(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(where as ListenOptions, resolve);
  });
  return {
    close: () => void listener.close(),
    shutdown: async (graceMs) => {
      injector.drain(graceMs);
      const closed = [...sockets].map(
        (socket) => new Promise<void>((resolve) => socket.once("close", resolve)),
      );
      const disconnected = (limit: Deadline) => limit.race(Promise.all(closed));
      await Deadline.within(graceMs, "the last responses", disconnected).catch(() => undefined); // closed below
      for (const socket of sockets) socket.destroy();
      server.forceShutdown();
    },
  };
}

function addService(
  grpc: typeof Grpc,
  server: Grpc.Server,
  name: string,
  { definition, handlers }: ServedService,
  report: Report,
): void {
  const methods: Record<string, Grpc.MethodDefinition<unknown, unknown>> = {};
  const implementation: Record<string, Grpc.handleUnaryCall<unknown, unknown>> = {};
  for (const [key, method] of Object.entries(definition.methods)) {
    const path = `/${name}/${method.name}`;
    const handler = (handlers as Record<string, Handler | undefined>)[key];
    if (!handler || method.requestStream || method.responseStream) continue; // Unimplemented
    methods[key] = methodDefinition(path, method);
    implementation[key] = (call, callback) => {
      respond(name, handler, call).then(
        (response) => callback(null, response),
        (thrown) => {
          const error = HullError.from(thrown);
          if (!(thrown instanceof HullError)) report(`${path}: ${error.message}`, thrown);
          callback({
            code: error.status as Grpc.status,
            details: error.message,
            metadata: new grpc.Metadata(),
          });
        },
      );
    };
  }
  server.addService(methods, implementation);
}

function methodDefinition(path: string, method: MethodDefinition): Grpc.MethodDefinition<unknown, unknown> {
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (value) => Buffer.from(method.requestType.encode(value).finish()),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (value) => Buffer.from(method.responseType.encode(value).finish()),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  };
}

/** Runs a handler. As with ttrpc, it has the client's deadline but continues if the client disconnects. */
async function respond(service: string, handler: Handler, call: Call): Promise<unknown> {
  const end = call.getDeadline();
  const ms = (typeof end === "number" ? end : end.getTime()) - Date.now();
  const deadline = Number.isFinite(ms) ? Deadline.after(ms, service) : Deadline.none();
  const connection = Deadline.none();
  call.on("cancelled", () => connection.cancel("the client disconnected"));
  const metadata = new Map(
    Object.entries(call.metadata.getMap()).map(([key, value]) => [key, [value.toString()]]),
  );
  try {
    return await handler(call.request, { deadline, metadata, service, connection });
  } finally {
    deadline.dispose();
    connection.dispose();
  }
}
