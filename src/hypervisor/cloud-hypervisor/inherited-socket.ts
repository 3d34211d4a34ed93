import { rename } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { HullError, internal } from "../../core/errors.ts";

/** A socket of ours that a child is to inherit: pass `fd` to the launcher, then `release()`. */
export interface Inherited {
  readonly fd: number;
  /** Closes our copy. The child's lives on. */
  release(): void;
}

/**
 * A unix socket listening at `path`, for a child to serve. Who connects after the child has been started is served
 * as soon as the child is ready: no wait for a file to appear, no retry. Nothing may connect before `release()`.
 */
export async function listeningSocket(path: string): Promise<Inherited> {
  const born = `${path}~`; // closing our copy removes the name it was bound to
  const server = createServer();
  await listen(server, born);
  await rename(born, path);
  return { fd: descriptor(server), release: () => server.close() };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(HullError.wrap(`socket ${path}`, error)));
    server.listen(path, resolve);
  });
}

/** libuv's descriptor. Node names no public way to it, and has kept this one since 0.6. */
function descriptor(server: Server): number {
  const fd = (server as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw internal("this Node tells no descriptor of its sockets");
  return fd;
}
