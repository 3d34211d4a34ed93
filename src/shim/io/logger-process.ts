import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { Deadline } from "../../core/deadline.ts";
import { failedPrecondition, HullError } from "../../core/errors.ts";
import { isExiting, procStatFields } from "../../core/proc-stat.ts";
import { readFdIntoBuffer } from "./buffer-reader.ts";

/** Characters of a logger's stderr that are kept for an error. */
const STDERR_TAIL = 2_000;

/** What is executed, and for which container. */
export interface LoggerCommand {
  readonly path: string;
  readonly args: readonly string[];
  /** For an exec, the exec id. */
  readonly containerId: string;
  readonly namespace: string;
}

/**
 * The process of a logger. It has no parent-death signal: if the shim dies, the pipes close and the logger can write
 * what it has.
 */
export class LoggerProcess {
  /** Resolves when the process exits, with `status N`, `signal NAME` or the error of starting it. Never rejects. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  #startError: Error | undefined;
  #stderr = "";

  /** Starts it. `what` names it in errors. */
  constructor(
    readonly what: string,
    command: LoggerCommand,
    [stderr, fd3, fd4, fd5]: [number, number, number, number],
  ) {
    const env = { CONTAINER_ID: command.containerId, CONTAINER_NAMESPACE: command.namespace };
    this.#child = spawn(command.path, command.args, {
      env,
      stdio: ["ignore", "ignore", stderr, fd3, fd4, fd5],
      detached: true,
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#startError = error;
        resolve(HullError.from(error).message);
      });
      this.#child.once("exit", (code, signal) => resolve(signal ? `signal ${signal}` : `status ${code}`));
    });
  }

  /** Reads its stderr, of which the end is kept. */
  readStderr(fd: number): void {
    const socket = readFdIntoBuffer(fd, (chunk, next) => {
      this.#stderr = (this.#stderr + Buffer.from(chunk).toString("utf8")).slice(-STDERR_TAIL);
      next();
    });
    socket.on("error", () => socket.destroy());
    socket.resume();
    void this.exited.then(() => socket.destroy());
  }

  /** Returns PID and start time, without those that are not known. */
  identity(): { pid?: number; startTime?: string } {
    const pid = this.#child.pid;
    const startTime = pid === undefined ? undefined : statFields(pid)?.[22];
    return { ...(pid !== undefined && { pid }), ...(startTime !== undefined && { startTime }) };
  }

  /** Waits for a byte on the ready pipe `fd`. Its end means the same, unless the logger `mustReport`. */
  async becomeReady(fd: number, mustReport: boolean): Promise<void> {
    const pipe = new Socket({ fd, readable: true, writable: false });
    try {
      const report = new Promise<"byte" | "end">((resolve, reject) => {
        pipe.once("data", () => resolve("byte"));
        pipe.once("end", () => resolve("end"));
        pipe.once("error", reject);
      });
      const failed = this.exited.then((how) => {
        if (how !== "status 0") throw this.#failure(how); // status 0: it may have forked, and its child reports
      });
      const first = await Promise.race([report, failed.then(() => report)]);
      if (first === "byte") return;
      if (this.#isExiting()) throw this.#failure(await this.exited);
      if (mustReport) throw failedPrecondition("closed its ready pipe without reporting that it is ready");
    } finally {
      pipe.destroy();
    }
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Returns whether it exits within `ms` milliseconds. */
  async exitsWithin(ms: number): Promise<boolean> {
    const what = `${this.what}: waiting for its exit`;
    return await Deadline.within(ms, what, (limit) => limit.race(this.exited)).then(
      () => true,
      () => false,
    );
  }

  /** An exiting process closes its descriptors before the parent is notified. */
  #isExiting(): boolean {
    const fields = this.#child.pid === undefined ? undefined : statFields(this.#child.pid);
    return fields === undefined || fields[3] === "Z" || isExiting(fields);
  }

  #failure(how: string): HullError {
    if (this.#startError) return HullError.ofCallersPath("start it", this.#startError);
    const stderr = this.#stderr.trim().split("\n").slice(-3).join(" | ");
    return failedPrecondition(`exited with ${how} before it was ready${stderr ? `: ${stderr}` : ""}`);
  }
}

/** Returns the fields of /proc/PID/stat; undefined if the process does not exist. */
function statFields(pid: number): string[] | undefined {
  try {
    return procStatFields(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}
