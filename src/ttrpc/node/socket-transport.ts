import type { Socket } from "node:net";
import type { Transport } from "../transport.ts";

/** How long the peer has for reading the last bytes after `close()`. */
const CLOSE_MS = 1000;

/** Makes a ttrpc transport from a connected socket and takes it over. */
export function socketTransport(socket: Socket): Transport {
  let failure: Error | undefined;
  socket.setNoDelay(true);
  socket.on("error", (error) => {
    failure = error;
  });
  return {
    write: (bytes) => socket.write(bytes),
    onData: (listener) => void socket.on("data", listener),
    onDrain: (listener) => void socket.on("drain", listener),
    onClose: (listener) => {
      if (socket.closed) queueMicrotask(() => listener(socket.errored ?? undefined));
      else socket.on("close", () => listener(failure));
    },
    close: () => {
      socket.resume(); // a paused socket would not notice that the peer closes
      socket.destroySoon();
      const timer = setTimeout(() => socket.destroy(), CLOSE_MS);
      timer.unref();
      socket.once("close", () => clearTimeout(timer));
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
  };
}
