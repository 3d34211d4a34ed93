import { Deadline } from "../../core/deadline.ts";
import { invalidArgument } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import type { ProcessIo, ProcessStreams, StdioPaths } from "../../pod/stdio.ts";
import { FifoInput, FifoOutput } from "./fifo.ts";
import { LogFile } from "./file-output.ts";
import { Logger, type LoggerTimeouts } from "./logger.ts";
import { OutputPump } from "./output-pump.ts";
import type { OutputTarget } from "./output-target.ts";
import { parseOutputUri } from "./stdio-uri.ts";

/** What a process's streams are opened with. */
interface IoContext {
  readonly namespace: string;
  readonly containerId: string;
  /** Empty for a container's init process. */
  readonly execId: string;
  /** The pod's directory, for temporary files. */
  readonly directory: string;
  readonly ledger: Ledger;
  /** Of opening; without it only a logger has a timeout. */
  readonly deadline?: Deadline;
  warn(message: string): void;
  readonly loggerTimeouts?: Partial<LoggerTimeouts>;
}

interface Outputs {
  readonly stdout?: OutputTarget;
  readonly stderr?: OutputTarget;
  readonly logger?: Logger;
}

/**
 * Opens the client's ends of a process's streams. Waits for a logger to be ready, but never for a client. Throws
 * InvalidArgument for an unknown scheme, NotFound for a missing FIFO, and FailedPrecondition for a logger that fails;
 * then nothing is left open.
 */
export async function openProcessIo(stdio: StdioPaths, context: IoContext): Promise<HostIo> {
  const outputs = await openOutputs(stdio, context);
  try {
    // With a logger there is no stdin, as in containerd's own shim.
    const stdin = stdio.stdin !== "" && !outputs.logger ? new FifoInput(stdio.stdin) : undefined;
    return new HostIo(stdio.terminal, stdin, outputs, context);
  } catch (error) {
    for (const output of [outputs.stdout, outputs.stderr]) {
      output?.close();
      output?.abandon?.();
    }
    await outputs.logger?.stop();
    throw error;
  }
}

/** The scheme of stdout applies to both streams; a terminal has only stdout. */
async function openOutputs(stdio: StdioPaths, context: IoContext): Promise<Outputs> {
  const stdout = parseOutputUri(stdio.stdout);
  const stderr = parseOutputUri(stdio.terminal ? "" : stdio.stderr);
  switch (stdout.kind) {
    case "logger": {
      const logger = await startLogger(stdout, context);
      return { stdout: logger.stdout, ...(!stdio.terminal && { stderr: logger.stderr }), logger };
    }
    case "file": {
      const file = await LogFile.open(stdout.path);
      return { stdout: file.stream(), ...(!stdio.terminal && { stderr: file.stream() }) };
    }
    default: {
      if (stderr.kind === "logger" || stderr.kind === "file") {
        throw invalidArgument(
          `stdio ${stdio.stderr}: stderr goes to a file or logger only together with stdout`,
        );
      }
      const first = stdout.kind === "fifo" ? new FifoOutput(stdout.path) : undefined;
      try {
        const second = stderr.kind === "fifo" ? new FifoOutput(stderr.path) : undefined;
        return { ...(first && { stdout: first }), ...(second && { stderr: second }) };
      } catch (error) {
        first?.abandon();
        throw error;
      }
    }
  }
}

async function startLogger(
  uri: { path: string; args: readonly string[]; mustReport: boolean },
  context: IoContext,
): Promise<Logger> {
  const deadline = context.deadline ?? Deadline.none();
  return await Logger.start({
    path: uri.path,
    args: uri.args,
    mustReport: uri.mustReport,
    containerId: context.execId || context.containerId,
    namespace: context.namespace,
    directory: context.directory,
    ledger: context.ledger,
    deadline,
    ...(context.loggerTimeouts && { timeouts: context.loggerTimeouts }),
  });
}

/** The streams of one process: a pump for each output, and stdin. */
class HostIo implements ProcessIo {
  readonly wants: ProcessIo["wants"];
  readonly #pumps: { readonly stdout?: OutputPump; readonly stderr?: OutputPump };
  #closed: Promise<void> | undefined;

  constructor(
    readonly terminal: boolean,
    readonly stdin: FifoInput | undefined,
    readonly outputs: Outputs,
    context: IoContext,
  ) {
    const subject = context.execId ? `exec ${context.execId} of ${context.containerId}` : context.containerId;
    const pump = (name: string, target: OutputTarget) =>
      new OutputPump(`${subject}: ${name}`, target, (message) => context.warn(message));
    this.#pumps = {
      ...(outputs.stdout && { stdout: pump("stdout", outputs.stdout) }),
      ...(outputs.stderr && { stderr: pump("stderr", outputs.stderr) }),
    };
    this.wants = {
      stdin: stdin !== undefined,
      stdout: outputs.stdout !== undefined,
      stderr: outputs.stderr !== undefined,
    };
  }

  attach(streams: ProcessStreams): void {
    for (const name of ["stdout", "stderr"] as const) {
      const [pump, stream] = [this.#pumps[name], streams[name]];
      if (pump && stream && !this.#closed) pump.attach(stream);
      else {
        stream?.destroy();
        pump?.close();
      }
    }
    if (this.stdin && streams.stdin && !this.#closed) this.stdin.copyTo(streams.stdin);
    else {
      streams.stdin?.destroy();
      this.stdin?.close();
    }
  }

  closeStdin(): void {
    this.stdin?.closeWriter();
  }

  async drained(deadline: Deadline, written?: Parameters<ProcessIo["drained"]>[1]): Promise<void> {
    if (written) {
      this.#pumps.stdout?.endsAfter(written.stdout);
      this.#pumps.stderr?.endsAfter(written.stderr);
    }
    await deadline.race(Promise.all(Object.values(this.#pumps).map((pump: OutputPump) => pump.done)));
  }

  describe(): Snapshot {
    return { stdout: this.#pumps.stdout?.describe(), stderr: this.#pumps.stderr?.describe() };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.stdin?.close();
    for (const pump of Object.values(this.#pumps)) (pump as OutputPump).abandon();
    await this.outputs.logger?.stop();
  }
}
