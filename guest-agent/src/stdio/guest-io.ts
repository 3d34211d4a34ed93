import type { Stdio } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import type { Sys } from "../sys.ts";
import { type Endpoints, STREAMS, type StreamName } from "./endpoints.ts";
import { Stream } from "./stream.ts";
import { checkToken, type TokenTable } from "./tokens.ts";

const MAX_WINDOW = 0xffff;

/** Bytes that a process has written to its output streams. */
export interface OutputTotals {
  stdout: bigint;
  stderr: bigint;
}

/**
 * The streams of a process and the size of its terminal. Its tokens are registered from construction until
 * `close`.
 */
export class GuestIo {
  readonly terminal: boolean;
  readonly wanted: ReadonlySet<StreamName>;
  readonly #sys: Sys;
  readonly #tokens: TokenTable;
  readonly #streams = new Map<StreamName, Stream>();
  readonly #registered: string[] = [];
  #size: { columns: number; rows: number };
  #master: number | undefined;

  /** Throws InvalidArgument for a malformed token, AlreadyExists for one in use. */
  constructor(sys: Sys, tokens: TokenTable, stdio: Stdio | undefined) {
    this.#sys = sys;
    this.#tokens = tokens;
    this.terminal = stdio?.terminal ?? false;
    const asked: Record<StreamName, string> = {
      stdin: stdio?.stdinToken ?? "",
      stdout: stdio?.stdoutToken ?? "",
      stderr: this.terminal ? "" : (stdio?.stderrToken ?? ""),
    };
    for (const name of STREAMS) if (asked[name] !== "") checkToken(asked[name]);
    this.wanted = new Set(STREAMS.filter((name) => asked[name] !== ""));
    this.#size = { columns: stdio?.terminalWidth ?? 0, rows: stdio?.terminalHeight ?? 0 };
    try {
      for (const name of STREAMS) {
        const wanted = this.wanted.has(name);
        if (!wanted && !(this.terminal && name === "stdout")) continue;
        const stream = new Stream(sys, name, wanted);
        this.#streams.set(name, stream);
        if (wanted) {
          tokens.register(asked[name], stream);
          this.#registered.push(asked[name]);
        }
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Connects the agent's ends of the process's pipes or terminal; the streams then own them. */
  attach(endpoints: Endpoints): void {
    for (const name of STREAMS) {
      const fd = endpoints[name];
      if (fd === undefined) continue;
      const stream = this.#streams.get(name);
      if (stream) stream.attach(fd, this.terminal);
      else this.#sys.close(fd);
    }
  }

  /** Takes ownership of the terminal's master and sets its size, if known. */
  attachTerminal(master: number): void {
    this.#master = master;
    this.#applySize();
  }

  /** Sets the window size, now or once there is a terminal. */
  resize(columns: number, rows: number): void {
    this.#size = { columns: Math.min(columns, MAX_WINDOW), rows: Math.min(rows, MAX_WINDOW) };
    this.#applySize();
  }

  /** Returns the bytes written so far to each output stream that the host wants. */
  totals(): OutputTotals {
    return { stdout: this.#total("stdout"), stderr: this.#total("stderr") };
  }

  /** Closes every stream and descriptor. Idempotent. */
  close(): void {
    for (const token of this.#registered.splice(0)) this.#tokens.forget(token);
    for (const stream of this.#streams.values()) stream.close();
    if (this.#master !== undefined) this.#sys.close(this.#master);
    this.#master = undefined;
  }

  #total(name: StreamName): bigint {
    return this.wanted.has(name) ? BigInt(this.#streams.get(name)?.total() ?? 0) : 0n;
  }

  #applySize(): void {
    const { columns, rows } = this.#size;
    if (this.#master !== undefined && columns > 0 && rows > 0)
      this.#sys.setWindowSize(this.#master, columns, rows);
  }
}
