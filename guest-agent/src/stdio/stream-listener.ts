import { describe, type Log } from "../log.ts";
import type { Sys } from "../sys.ts";
import { errnoName } from "../sys.ts";
import { Listener } from "../transport/listener.ts";
import type { TokenTable } from "./tokens.ts";

/** Long: a guest that is short of CPU time must not lose a process's output. */
const TOKEN_TIMEOUT_MS = 60_000;
const LINE_FEED = 10;
/** Token and line feed. */
const MAX_LINE = 33;
const MAX_WAITING = 2048;

/**
 * Serves the stdio port: reads the token line of each connection and passes the connection to its stream.
 * Reads byte by byte, so that what follows remains in the socket for the relay. Closes a connection that is
 * too slow, or sends an unknown token or anything else.
 */
export class StreamListener {
  readonly #sys: Sys;
  readonly #tokens: TokenTable;
  readonly #log: Log;
  readonly #waiting = new Set<number>();

  /** Takes over `fd`, a listening socket. */
  constructor(sys: Sys, fd: number, tokens: TokenTable, log: Log) {
    this.#sys = sys;
    this.#tokens = tokens;
    this.#log = log;
    new Listener(sys, fd, (connection) => this.#greet(connection), log);
  }

  #greet(connection: number): void {
    const sys = this.#sys;
    if (this.#waiting.size >= MAX_WAITING) {
      this.#log("warn", "stdio: too many connections without a token; closed one");
      sys.close(connection);
      return;
    }
    const line = new Uint8Array(MAX_LINE);
    let length = 0;
    this.#waiting.add(connection);
    const finish = (problem?: string): void => {
      this.#waiting.delete(connection);
      sys.clearTimer(timer);
      sys.unwatch(connection);
      if (problem !== undefined) {
        this.#log("warn", `stdio: ${problem}; connection closed`);
        sys.close(connection);
      }
    };
    const timer = sys.setTimer(TOKEN_TIMEOUT_MS, () =>
      finish(`no token within ${TOKEN_TIMEOUT_MS / 1000} s`),
    );
    sys.watch(connection, { read: true }, () => {
      for (;;) {
        let got: number;
        try {
          got = sys.read(connection, line, length, 1);
        } catch (error) {
          return finish(errnoName(error) ?? describe(error));
        }
        if (got < 0) return;
        if (got === 0) return finish("closed before its token");
        if (line[length] === LINE_FEED) break;
        length++;
        if (length === MAX_LINE) return finish("token line too long");
      }
      const stream = this.#tokens.take(String.fromCharCode(...line.subarray(0, length)));
      if (!stream) return finish("unknown token");
      finish();
      stream.connect(connection);
    });
  }
}
