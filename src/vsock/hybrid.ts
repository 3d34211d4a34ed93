import { createConnection, type Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import { Semaphore } from "../core/semaphore.ts";

/** `OK <port>\n` is at most 14 bytes; more than this without a line end is no answer. */
const MAX_ANSWER = 32;
/**
 * A guest that answers no more leaves each dial open (README.md). Beyond this number others wait: one that answers does
 * so within milliseconds.
 */
const MAX_UNANSWERED = 128;

/** One CONNECT to a hybrid vsock socket. It is not closed before it was answered, see README.md. */
export class Dial {
  /** The connected socket, paused, allowHalfOpen, with nothing read beyond the answer line. */
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
        // A late error of a socket that nobody holds is of no use to anybody.
        socket.on("error", () => undefined);
        if (error || this.#abandoned) socket.destroy();
        if (error) reject(error);
        else resolve(socket);
      };
      const onError = (error: Error) => settle(HullError.wrap(`connect to ${path}`, error, "Unavailable"));
      const onClose = () => settle(unavailable(`connect to ${path}: closed before the guest answered`));
      // Byte by byte, so that what the guest sends behind the answer stays in the socket.
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
    this.answered.catch(() => undefined); // whoever waits for it sees it too
  }

  /** Nobody wants it any more: it is closed as soon as it has been answered. */
  abandon(): void {
    this.#abandoned = true;
    this.answered.then(
      (socket) => socket.destroy(),
      () => undefined,
    );
  }

  /** Closes it now. Only right when its answer cannot come any more. */
  close(): void {
    this.#abandoned = true;
    this.#socket.destroy();
  }
}

function badAnswer(path: string, answer: string): HullError {
  return unavailable(`connect to ${path}: ${JSON.stringify(answer)} is not an answer to CONNECT`);
}

/** The host's end of one guest's ports. */
export class HybridVsock {
  readonly #path: string;
  readonly #unanswered = new Semaphore(MAX_UNANSWERED);

  /** `path`: the hybrid vsock socket. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Connects to a guest port that is known to be listened on. Rejects with Unavailable when the socket refuses or
   * closes, DeadlineExceeded when the guest does not answer in time, or has not answered too many others yet.
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
