import { createConnection, type Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import { Semaphore } from "../core/semaphore.ts";

/** `OK <port>\n` has at most 14 bytes; a longer line is not an answer. */
const MAX_ANSWER = 32;
/**
 * An unresponsive guest leaves every dial open (README.md). Above this number others wait; answers take
 * milliseconds.
 */
const MAX_UNANSWERED = 128;

/** One CONNECT to a hybrid vsock socket. It is not closed before it is answered (README.md). */
export class Dial {
  /** The connected socket: paused, allowHalfOpen, with nothing read beyond the answer. */
  readonly answered: Promise<Socket>;
  readonly #socket: Socket;
  #abandoned = false;

  constructor(path: string, port: number) {
    const socket = createConnection({ path, allowHalfOpen: true });
    this.#socket = socket;
    this.answered = new Promise<Socket>((resolve, reject) => {
      let answer = "";
      const settle = (error?: HullError) => {
        socket.off("error", onError).off("close", onClose).off("end", onClose).off("readable", onReadable);
        // Nobody needs a later error of an abandoned socket.
        socket.on("error", () => undefined);
        if (error || this.#abandoned) socket.destroy();
        if (error) reject(error);
        else resolve(socket);
      };
      const onError = (error: Error) => settle(HullError.wrap(`connect to ${path}`, error, "Unavailable"));
      const onClose = () => settle(unavailable(`connect to ${path}: closed before the guest answered`));
      // Byte by byte, so that what the guest sends after the answer stays in the socket.
      const onReadable = () => {
        for (
          let byte = socket.read(1) as Buffer | null;
          byte !== null;
          byte = socket.read(1) as Buffer | null
        ) {
          answer += byte.toString("latin1");
          if (answer.endsWith("\n")) {
            settle(/^OK \d+\n$/.test(answer) ? undefined : badAnswer(path, answer));
            return;
          }
          if (answer.length >= MAX_ANSWER) {
            settle(badAnswer(path, answer));
            return;
          }
        }
      };
      socket.on("error", onError).on("close", onClose).on("end", onClose).on("readable", onReadable);
      socket.on("connect", () => socket.write(`CONNECT ${port}\n`));
    });
    this.answered.catch(() => undefined); // its users report it
  }

  /** Closes the connection as soon as it has been answered; nobody wants it any more. */
  abandon(): void {
    this.#abandoned = true;
    this.answered.then(
      (socket) => socket.destroy(),
      () => undefined,
    );
  }

  /** Closes the connection now, which is only safe when no answer can arrive any more. */
  close(): void {
    this.#abandoned = true;
    this.#socket.destroy();
  }
}

function badAnswer(path: string, answer: string): HullError {
  return unavailable(`connect to ${path}: ${JSON.stringify(answer)} is not an answer to CONNECT`);
}

/** The host's side of one guest's ports. */
export class HybridVsock {
  readonly #path: string;
  readonly #unanswered = new Semaphore(MAX_UNANSWERED);

  /** `path`: the hybrid vsock socket. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Connects to a guest port on which the guest listens. Rejects with Unavailable if the socket refuses or
   * closes, with DeadlineExceeded if the guest does not answer this dial, or too many earlier ones, in time.
   */
  async connect(port: number, deadline: Deadline): Promise<Socket> {
    try {
      deadline.check();
      const release = await this.#unanswered.acquire(deadline);
      const dial = new Dial(this.#path, port);
      dial.answered.then(release, release);
      try {
        return await deadline.race(dial.answered);
      } catch (thrown) {
        dial.abandon();
        throw thrown;
      }
    } catch (thrown) {
      throw HullError.wrap(`guest port ${port}`, thrown, "Unavailable");
    }
  }
}
