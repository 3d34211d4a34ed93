import { closeSync } from "node:fs";
import { Socket } from "node:net";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import type { Ledger, LedgerEntry } from "../../core/ledger.ts";
import { type LoggerCommand, LoggerProcess } from "./logger-process.ts";
import type { OutputTarget } from "./output-target.ts";
import { makePipes, type Pipe } from "./pipe.ts";

/** What a logger is started with. */
interface LoggerOptions extends LoggerCommand {
  /** Whether the end of the ready pipe without a byte is a failure. */
  readonly mustReport: boolean;
  /** The pod's directory, for temporary files. */
  readonly directory: string;
  readonly ledger: Ledger;
  readonly deadline: Deadline;
  /** Shortened by tests. */
  readonly timeouts?: Partial<LoggerTimeouts>;
}

/** How long a logger may take, in milliseconds. */
export interface LoggerTimeouts {
  /** From its start until it is ready. */
  readonly ready: number;
  /** From the end of its input until SIGTERM. Most loggers exit by themselves and lose nothing. */
  readonly exit: number;
  /** From SIGTERM until SIGKILL; 12 s in containerd's shims. */
  readonly kill: number;
}

const TIMEOUTS: LoggerTimeouts = { ready: 10_000, exit: 2_000, kill: 12_000 };

/**
 * A `binary://` logger (containerd, runtime v2 README, "Logging"): a process that reads the container's stdout from
 * descriptor 3 and stderr from 4, and reports on 5 that it is ready.
 */
export class Logger {
  private constructor(
    readonly stdout: OutputTarget,
    readonly stderr: OutputTarget,
    private readonly process: LoggerProcess,
    private readonly entry: LedgerEntry,
    private readonly timeouts: LoggerTimeouts,
  ) {}

  /** Starts a logger and waits until it is ready. Throws if it fails before, or is not ready in time. */
  static async start(options: LoggerOptions): Promise<Logger> {
    const timeouts = { ...TIMEOUTS, ...options.timeouts };
    const what = `logger ${options.path}`;
    const deadline = options.deadline.shorter(timeouts.ready, `${what}: waiting until it is ready`);
    let child: LoggerProcess | undefined;
    const entry = await options.ledger.record({ kind: "process", role: "logger" });
    const open: number[] = [];
    try {
      const pipes = await makePipes(4, options.directory, deadline);
      for (const { read, write } of pipes) open.push(read, write);
      const [out, err, ready, stderr] = pipes as [Pipe, Pipe, Pipe, Pipe];
      const release = (...fds: number[]) => {
        for (const fd of fds) {
          open.splice(open.indexOf(fd), 1);
          closeSync(fd);
        }
      };
      const keep = (fd: number) => {
        open.splice(open.indexOf(fd), 1);
        return fd;
      };
      child = new LoggerProcess(what, options, [stderr.write, out.read, err.read, ready.write]);
      release(stderr.write, out.read, err.read, ready.write);
      child.readStderr(keep(stderr.read));
      await entry.update({ kind: "process", role: "logger", ...child.identity() });
      await deadline.race(child.becomeReady(keep(ready.read), options.mustReport));
      return new Logger(
        new PipeOutput(keep(out.write)),
        new PipeOutput(keep(err.write)),
        child,
        entry,
        timeouts,
      );
    } catch (error) {
      for (const fd of open) closeSync(fd);
      child?.kill("SIGKILL");
      await child?.exited;
      await entry.forget();
      throw HullError.wrap(what, error, "FailedPrecondition");
    } finally {
      deadline.dispose();
    }
  }

  /** Ends the logger with end of file, then SIGTERM, then SIGKILL. Resolves when it has exited. */
  async stop(): Promise<void> {
    this.stdout.close();
    this.stderr.close();
    if (!(await this.process.exitsWithin(this.timeouts.exit))) {
      this.process.kill("SIGTERM");
      if (!(await this.process.exitsWithin(this.timeouts.kill))) this.process.kill("SIGKILL");
    }
    await this.process.exited;
    await this.entry.forget();
  }
}

/** The write end of one of the logger's pipes. */
class PipeOutput implements OutputTarget {
  readonly #socket: Socket;

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    this.#socket.on("error", () => undefined); // `write` reports it
  }

  write(chunk: Uint8Array, done: (error?: Error) => void): void {
    this.#socket.write(chunk, (error) => done(error ?? undefined));
  }

  close(): void {
    this.#socket.destroy();
  }
}
