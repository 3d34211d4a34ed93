import { rename, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
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

/**
 * A connected pair of unix sockets: what the child writes to its end comes as text to `onText`; `done` resolves when
 * the last copy of the child's end has been closed.
 */
export async function writableSocket(
  path: string,
  onText: (text: string) => void,
): Promise<Inherited & { done: Promise<void> }> {
  const server = createServer();
  await listen(server, path);
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const end = connect(path);
  try {
    await new Promise<void>((resolve, reject) => {
      end.once("connect", resolve);
      end.once("error", reject);
    });
  } catch (error) {
    server.close();
    throw HullError.wrap(`socket ${path}`, error);
  }
  const reader = await accepted;
  server.close();
  await rm(path, { force: true });
  reader.setEncoding("utf8").on("data", onText);
  reader.on("error", () => reader.destroy()); // ends it: "close" follows
  const done = new Promise<void>((resolve) => reader.once("close", resolve));
  return { fd: descriptor(end), release: () => end.destroy(), done };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(HullError.wrap(`socket ${path}`, error)));
    server.listen(path, resolve);
  });
}

/** libuv's descriptor. Node names no public way to it, and has kept this one since 0.6. */
function descriptor(socket: Server | Socket): number {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw internal("this Node tells no descriptor of its sockets");
  return fd;
}
