import { rename, unlink } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { HullError, ignoring, internal } from "../core/errors.ts";

/** A listening Unix socket for a child to inherit and serve. */
export interface ListeningSocket {
  readonly fd: number;
  /** Closes our descriptor; the child's and the path remain. */
  release(): void;
}

/**
 * Binds and listens at `path`: a client can connect before the child serves, and need not wait for the file
 * to appear. No client may connect before `release()`.
 */
export async function listeningSocket(path: string): Promise<ListeningSocket> {
  await unlink(path).catch(ignoring("ENOENT"));
  // libuv unlinks the path that it bound when it closes the socket, so bind to another one.
  const temporary = `${path}~`;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(HullError.wrap(`socket ${path}`, error)));
    server.listen(temporary, resolve);
  });
  await rename(temporary, path);
  return { fd: descriptorOf(server), release: () => server.close() };
}

/** Node has no public API for a server's descriptor; this field has existed since Node 0.6. */
function descriptorOf(server: Server): number {
  const fd = (server as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0)
    throw internal("this version of Node does not expose the descriptors of its sockets");
  return fd;
}
