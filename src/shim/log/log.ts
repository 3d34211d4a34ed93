import { writeSync } from "node:fs";
import { type Logger as Log, pino } from "pino";
import { printable } from "../../core/printable.ts";

export type { Log };

/** The shim's stderr: containerd's `log` FIFO, opened by the launcher for reading and writing, non-blocking. */
const LOG_FD = 2;
/** Bytes of a line; longer ones are cut. */
const LINE_LIMIT = 16 * 1024;
/** Characters of an error's message, and of its stack, which contains the messages of all causes. */
const ERROR_TEXT_LIMIT = 4096;

/** A destination of log lines that neither blocks nor fails: lines that cannot be written are dropped. */
interface LineSink {
  write(line: string): void;
  /** How many lines were dropped so far. */
  readonly dropped: number;
}

/**
 * Writes lines to a non-blocking FIFO. While containerd is down they stay in the FIFO; once it is full (64 KiB), lines
 * are dropped until it is read again.
 */
export class FifoSink implements LineSink {
  readonly #fd: number;
  /** The rest of a partly written line, which is written before the next one. */
  #rest: Uint8Array = new Uint8Array();
  #dropped = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get dropped(): number {
    return this.#dropped;
  }

  write(line: string): void {
    if (!this.#flush()) {
      this.#dropped++;
      return;
    }
    const bytes = Buffer.from(line);
    this.#rest =
      bytes.length <= LINE_LIMIT ? bytes : Buffer.concat([bytes.subarray(0, LINE_LIMIT), Buffer.from("\n")]);
    const length = this.#rest.length;
    if (!this.#flush() && this.#rest.length === length) {
      this.#rest = new Uint8Array();
      this.#dropped++;
    }
  }

  /** Writes the rest of the last line. Returns false if that is not possible now. */
  #flush(): boolean {
    while (this.#rest.length > 0) {
      try {
        this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest));
      } catch {
        // EAGAIN: full; EPIPE, EIO, ENOSPC: the line is lost. An error could not be reported anywhere.
        return false;
      }
    }
    return true;
  }
}

/** Returns the shim's log: one JSON line per message, with `fields`, to containerd's log FIFO. */
export function createLog(
  level: string,
  fields: Record<string, unknown>,
  sink: LineSink = new FifoSink(LOG_FD),
): Log {
  return pino(
    {
      ...{ level, base: fields, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "msg" },
      serializers: { err: pino.stdSerializers.wrapErrorSerializer(printableError) },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map((arg: unknown) => printableValue(arg)) as typeof args);
        },
      },
    },
    sink,
  );
}

/** Removes control sequences from fields and messages: they may contain text from a guest or a VMM. */
function printableValue(value: unknown, limit?: number): unknown {
  if (typeof value === "string") return printable(value, limit);
  if (typeof value !== "object" || value === null || value instanceof Error) return value;
  if (Array.isArray(value)) return value.map((entry) => printableValue(entry, limit));
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, entry]) => [printable(key), printableValue(entry, limit)]));
}

/** Removes control sequences from an error and its causes, and shortens them. */
function printableError<T extends { message: string; stack: string }>(error: T): T {
  if (!(typeof error?.message === "string" && typeof error.stack === "string")) return error; // not an error
  return printableValue({ ...error }, ERROR_TEXT_LIMIT) as T;
}
