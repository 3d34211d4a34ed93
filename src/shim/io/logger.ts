import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, HullError } from "../../core/errors.ts";
import type { Ledger, LedgerEntry } from "../../core/ledger.ts";
import { isExiting, procStatFields } from "../../core/proc-stat.ts";
import { readFdIntoBuffer } from "./buffer-reader.ts";
import type { OutputTarget } from "./output-target.ts";
import { makePipes, type Pipe } from "./pipe.ts";

/** What a logger is told and given. */
interface LoggerOptions {
  readonly path: string;
  readonly args: readonly string[];
  readonly mustReport: boolean;
  /** The exec id for an exec. */
  readonly containerId: string;
  readonly namespace: string;
  /** For short-lived files of the shim. */
  readonly directory: string;
  readonly ledger: Ledger;
  readonly deadline: Deadline;
  /** Time limits in milliseconds, shortened by tests. */
  readonly limits?: Partial<LoggerLimits>;
}

export interface LoggerLimits {
  /** From its start until it is ready. */
  readonly ready: number;
  /** From the end of its input until SIGTERM: most loggers end by themselves, and lose nothing then. */
  readonly end: number;
  /** From SIGTERM until SIGKILL; containerd's shims give 12 s. */
  readonly kill: number;
}

const LIMITS: LoggerLimits = { ready: 10_000, end: 2_000, kill: 12_000 };
const STDERR_TAIL = 2_000;

/**
 * A `binary://` logger (containerd, "Logging" of the runtime v2 README): a process that reads the container's
 * stdout from descriptor 3 and stderr from 4, and tells through 5 that it is ready.
 */
export class Logger {
  private constructor(
    readonly stdout: OutputTarget,
    readonly stderr: OutputTarget,
    private readonly process: LoggerProcess,
    private readonly entry: LedgerEntry,
    private readonly limits: LoggerLimits,
  ) {}

  /** Starts a logger; resolves once it is ready. Throws when it fails before that, or is not ready in time. */
  static async start(options: LoggerOptions): Promise<Logger> {
    const limits = { ...LIMITS, ...options.limits };
    const what = `logger ${options.path}`;
    const deadline = options.deadline.shorter(limits.ready, `${what}: waiting until it is ready`);
    let child: LoggerProcess | undefined;
    const entry = await options.ledger.record({ kind: "process", role: "logger" });
    const open: number[] = [];
    try {
      const pipes = await makePipes(4, options.directory, deadline);
      for (const { read, write } of pipes) open.push(read, write);
      const [out, err, ready, complaints] = pipes as [Pipe, Pipe, Pipe, Pipe];
      const give = (...fds: number[]) => {
        for (const fd of fds) {
          open.splice(open.indexOf(fd), 1);
          closeSync(fd);
        }
      };
      const keep = (fd: number) => {
        open.splice(open.indexOf(fd), 1);
        return fd;
      };
      child = new LoggerProcess(what, options, [complaints.write, out.read, err.read, ready.write]);
      give(complaints.write, out.read, err.read, ready.write);
      child.readComplaints(keep(complaints.read));
      await entry.update({ kind: "process", role: "logger", ...child.mark() });
      await deadline.race(child.becomeReady(keep(ready.read), options.mustReport));
      return new Logger(
        new PipeOutput(keep(out.write)),
        new PipeOutput(keep(err.write)),
        child,
        entry,
        limits,
      );
    } catch (error) {
      for (const fd of open) closeSync(fd);
      child?.kill("SIGKILL");
      await child?.ended;
      await entry.forget();
      throw HullError.wrap(what, error, "FailedPrecondition");
    } finally {
      deadline.dispose();
    }
  }

  /** Ends the logger: end of file, then SIGTERM, then SIGKILL. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.stdout.close();
    this.stderr.close();
    if (!(await this.process.endsWithin(this.limits.end))) {
      this.process.kill("SIGTERM");
      if (!(await this.process.endsWithin(this.limits.kill))) this.process.kill("SIGKILL");
    }
    await this.process.ended;
    await this.entry.forget();
  }
}

/** The child. No parent-death signal: when the shim dies its pipes close, and the logger writes out what it has. */
class LoggerProcess {
  /** Resolves with how it ended. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  #startError: Error | undefined;
  #complaints = "";

  constructor(
    readonly what: string,
    options: LoggerOptions,
    [stderr, fd3, fd4, fd5]: [number, number, number, number],
  ) {
    const env = { CONTAINER_ID: options.containerId, CONTAINER_NAMESPACE: options.namespace };
    this.#child = spawn(options.path, options.args, {
      env,
      stdio: ["ignore", "ignore", stderr, fd3, fd4, fd5],
      detached: true,
    });
    this.ended = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#startError = error;
        resolve(HullError.from(error).message);
      });
      this.#child.once("exit", (code, signal) => resolve(signal ? `signal ${signal}` : `status ${code}`));
    });
  }

  /** Keeps the end of what it writes to its standard error, however much that is. */
  readComplaints(fd: number): void {
    const socket = readFdIntoBuffer(fd, (chunk, next) => {
      this.#complaints = (this.#complaints + Buffer.from(chunk).toString("utf8")).slice(-STDERR_TAIL);
      next();
    });
    socket.on("error", () => socket.destroy());
    socket.resume();
    void this.ended.then(() => socket.destroy());
  }

  /** Its pid and start time; nothing when it could not be started. */
  mark(): { pid?: number; startTime?: string } {
    const pid = this.#child.pid;
    const startTime = pid === undefined ? undefined : statFields(pid)?.[22];
    return { ...(pid !== undefined && { pid }), ...(startTime !== undefined && { startTime }) };
  }

  /** Waits for a byte on its ready pipe, or for the pipe's end, which means the same unless it must report. */
  async becomeReady(fd: number, mustReport: boolean): Promise<void> {
    const pipe = new Socket({ fd, readable: true, writable: false });
    try {
      const said = new Promise<"byte" | "end">((resolve, reject) => {
        pipe.once("data", () => resolve("byte"));
        pipe.once("end", () => resolve("end"));
        pipe.once("error", reject);
      });
      const failed = this.ended.then((how) => {
        if (how !== "status 0") throw this.#failure(how); // one that forks ends well, and its child reports
      });
      const first = await Promise.race([said, failed.then(() => said)]);
      if (first === "byte") return;
      if (this.#dying()) throw this.#failure(await this.ended);
      if (mustReport) throw failedPrecondition("closed its ready pipe without reporting that it is ready");
    } finally {
      pipe.destroy();
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async endsWithin(ms: number): Promise<boolean> {
    const what = `${this.what}: waiting for its exit`;
    return await Deadline.within(ms, what, (limit) => limit.race(this.ended)).then(
      () => true,
      () => false,
    );
  }

  /** A process that exits closes its descriptors before its parent is told. */
  #dying(): boolean {
    const fields = this.#child.pid === undefined ? undefined : statFields(this.#child.pid);
    return fields === undefined || fields[3] === "Z" || isExiting(fields);
  }

  #failure(how: string): HullError {
    if (this.#startError) return HullError.ofCallersPath("start it", this.#startError);
    const said = this.#complaints.trim().split("\n").slice(-3).join(" | ");
    return failedPrecondition(`exited with ${how} before it was ready${said ? `: ${said}` : ""}`);
  }
}

/** The fields of /proc/PID/stat; undefined when the process is gone. */
function statFields(pid: number): string[] | undefined {
  try {
    return procStatFields(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}

/** The write end of one of the logger's pipes. */
class PipeOutput implements OutputTarget {
  readonly #socket: Socket;

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    this.#socket.on("error", () => undefined); // reaches the write that it concerns
  }

  write(chunk: Uint8Array, done: (error?: Error) => void): void {
    this.#socket.write(chunk, (error) => done(error ?? undefined));
  }

  close(): void {
    this.#socket.destroy();
  }
}
