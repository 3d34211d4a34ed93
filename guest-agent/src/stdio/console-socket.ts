import { deferred } from "../../../src/core/deferred.ts";
import { internal } from "../../../src/core/errors.ts";
import { allowing, type Sys } from "../sys.ts";

/**
 * The socket through which crun hands over a terminal's master (SCM_RIGHTS, as `--console-socket` of every OCI
 * runtime). Keep its path short: socket paths end at 108 bytes.
 */
export class ConsoleSocket {
  readonly #sys: Sys;
  readonly #master = deferred<number>();
  readonly #listening: number;
  #connection: number | undefined;
  #received: number | undefined;
  #taken = false;
  #closed = false;

  constructor(
    sys: Sys,
    readonly path: string,
  ) {
    this.#sys = sys;
    this.#master.promise.catch(() => undefined); // it may close before anyone has asked
    this.#listening = sys.unixListen(path, 1, 0o600);
    sys.watch(this.#listening, { read: true }, () => this.#accept());
  }

  /** The terminal's master, the caller's from then on; rejects when the socket is closed before it came. */
  async master(): Promise<number> {
    const fd = await this.#master.promise;
    this.#taken = true;
    return fd;
  }

  /** Ends it; a master that came and was not taken is closed. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#received !== undefined && !this.#taken) this.#sys.close(this.#received);
    this.#sys.unwatch(this.#listening);
    this.#sys.close(this.#listening);
    this.#dropConnection();
    allowing(["ENOENT"], () => this.#sys.unlink(this.path));
    this.#master.reject(internal("terminal: crun exited without passing the terminal"));
  }

  #accept(): void {
    let connection: number;
    try {
      connection = this.#sys.accept(this.#listening);
    } catch (error) {
      // What waits in the backlog would wake the loop for ever: the process fails to start, and can be started again.
      this.#sys.unwatch(this.#listening);
      this.#master.reject(error);
      return;
    }
    if (connection < 0) return;
    if (this.#connection !== undefined || this.#received !== undefined) {
      this.#sys.close(connection);
      return;
    }
    this.#connection = connection;
    this.#sys.watch(connection, { read: true }, () => this.#receive(connection));
  }

  #receive(connection: number): void {
    try {
      const fd = this.#sys.receiveFd(connection);
      if (fd < 0) return;
      this.#received = fd;
      this.#master.resolve(fd);
    } catch (error) {
      this.#master.reject(error);
    }
    this.#dropConnection();
  }

  #dropConnection(): void {
    if (this.#connection === undefined) return;
    this.#sys.unwatch(this.#connection);
    this.#sys.close(this.#connection);
    this.#connection = undefined;
  }
}
