import {
  createConnection,
  createServer,
  type ListenOptions,
  type Server as NetServer,
  type Socket,
} from "node:net";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import type { Server } from "../server.ts";
import { socketTransport } from "./socket-transport.ts";

/**
 * Connects to a Unix socket. Throws Unavailable, even if the path does not exist, or the deadline's reason.
 */
export async function connectUnix(path: string, deadline: Deadline): Promise<Socket> {
  deadline.check();
  const socket = createConnection({ path });
  try {
    await deadline.race(
      new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      }),
    );
    return socket;
  } catch (thrown) {
    socket.on("error", () => undefined); // a late error of the abandoned attempt
    socket.destroy();
    throw HullError.wrap(`connect to ${path}`, thrown, "Unavailable");
  }
}

/**
 * Serves `server` on a path or on a listening descriptor (`{ fd }`). Resolves when clients can connect.
 * The caller closes the returned server before `server.shutdown()`.
 */
export async function listen(server: Server, where: { path: string } | { fd: number }): Promise<NetServer> {
  const listener = createServer((socket) => server.serve(socketTransport(socket)));
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(where as ListenOptions, () => {
      listener.removeListener("error", reject);
      resolve();
    });
  }).catch((thrown) => {
    throw HullError.wrap(
      "path" in where ? `listen on ${where.path}` : `listen on descriptor ${where.fd}`,
      thrown,
    );
  });
  return listener;
}
