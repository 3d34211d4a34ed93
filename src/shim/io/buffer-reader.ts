import { Socket } from "node:net";

/** One read. A FIFO's default capacity is half of it; larger gains nothing. */
const STREAM_BUFFER_SIZE = 128 * 1024;

/** Gets the bytes in a buffer that is reused as soon as `next` was called; nothing more is read before that. */
type ChunkListener = (chunk: Uint8Array, next: () => void) => void;

/**
 * Reads a connected socket through one reused buffer, and returns the socket to use from here on in place of it.
 *
 * Node gives every read of a plain socket a fresh buffer: after a GiB of output the shim keeps 35 MiB for good,
 * against 2 with a reused one. `onread` is only taken when a socket is made, but the connection comes from someone
 * who had to shake hands on it first. So the connection moves into a new socket, by the constructor's own `handle`
 * option. That property is not documented; where it is missing the socket is read in the ordinary way.
 */
export function readIntoBuffer(socket: Socket, listener: ChunkListener): Socket {
  socket.pause();
  const early = socket.read() as Buffer | null;
  const reader = takeOver(socket, listener) ?? readPlainly(socket, listener);
  if (early === null) reader.resume();
  else listener(early, () => reader.resume());
  return reader;
}

/** Reads descriptor `fd` (a FIFO or socket, taken over) through one reused buffer. Paused until `resume()`. */
export function readFdIntoBuffer(fd: number, listener: ChunkListener): Socket {
  return reusingSocket({ fd, readable: true, writable: false }, listener);
}

function takeOver(socket: Socket, listener: ChunkListener): Socket | undefined {
  const holder = socket as unknown as { _handle?: { readStop?: () => unknown } | null };
  const handle = holder._handle;
  // A socket that is connecting or has something to send still answers for it, and one that has ended has nothing to move.
  if (
    !handle?.readStop ||
    socket.connecting ||
    socket.writableLength > 0 ||
    socket.readableEnded ||
    socket.destroyed
  )
    return undefined;
  handle.readStop();
  holder._handle = null;
  return reusingSocket({ handle }, listener);
}

function reusingSocket(origin: object, listener: ChunkListener): Socket {
  const options = {
    ...origin,
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(STREAM_BUFFER_SIZE),
      callback: (length: number, buffer: Uint8Array) => {
        let state = "called" as "called" | "done" | "waiting";
        listener(buffer.subarray(0, length), () => {
          if (state === "waiting") socket.resume();
          else state = "done";
        });
        if (state === "done") return true;
        state = "waiting";
        return false;
      },
    },
  };
  // The types of Node 20 know `onread` for `connect` only.
  const socket = new Socket(options as ConstructorParameters<typeof Socket>[0]);
  return socket;
}

function readPlainly(socket: Socket, listener: ChunkListener): Socket {
  socket.on("data", (chunk: Buffer) => {
    socket.pause();
    listener(chunk, () => socket.resume());
  });
  return socket;
}
