import { deferred } from "../../../src/core/deferred.ts";
import { internal } from "../../../src/core/errors.ts";
import { allowing, type Sys } from "../sys.ts";

/**
 * The socket through which crun passes a terminal's master (SCM_RIGHTS, `--console-socket` of every OCI
 * runtime). Its path must be short: socket paths are limited to 108 bytes.
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
    this.#master.promise.catch(() => undefined); // it may be closed before `master` is called
    this.#listening = sys.unixListen(path, 1, 0o600);
    sys.watch(this.#listening, { read: true }, () => this.#accept());
  }

  /**
   * Resolves with the terminal's master, which the caller then owns; rejects if the socket is closed before
   * it arrives.
   */
  async master(): Promise<number> {
    const fd = await this.#master.promise;
    this.#taken = true;
    return fd;
  }

  /** Closes the socket, and a master that was received but not taken. */
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
      // The pending connection would wake the loop endlessly. The process fails to start; the caller can
      // retry.
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
