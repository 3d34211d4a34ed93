import { rename, unlink } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { HullError, ignoring, internal } from "../core/errors.ts";

/** A listening unix socket that a child is to inherit and serve. */
export interface ListeningSocket {
  readonly fd: number;
  /** Closes our copy; the child's lives on, and so does the name. */
  release(): void;
}

/**
 * Binds and listens at `path`, so that a client can connect before the child that inherits it has started to serve:
 * nothing has to wait for a file to appear. Nobody may connect before `release()`.
 */
export async function listeningSocket(path: string): Promise<ListeningSocket> {
  await unlink(path).catch(ignoring("ENOENT"));
  // libuv removes the name that it bound when it closes the socket: it shall find another one.
  const born = `${path}~`;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(HullError.wrap(`socket ${path}`, error)));
    server.listen(born, resolve);
  });
  await rename(born, path);
  return { fd: descriptorOf(server), release: () => server.close() };
}

/** Node names no public way to a server's descriptor, and has kept this one since 0.6. */
function descriptorOf(server: Server): number {
  const fd = (server as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0)
    throw internal("this version of Node does not expose the descriptors of its sockets");
  return fd;
}
