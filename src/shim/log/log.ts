import { writeSync } from "node:fs";
import { type Logger, pino } from "pino";
import { printable } from "../../core/printable.ts";

export type { Logger };

/** The shim's standard error: containerd's `log` FIFO, opened by the launcher for both directions, non-blocking. */
const LOG_FD = 2;
/** A line that could only be written in part is completed before the next one; beyond this it is cut. */
const LINE_LIMIT = 16 * 1024;
/** Characters of an error's message, and of its stack, which repeats what each of its causes says. */
const ERROR_TEXT_LIMIT = 4096;

/** A place for log lines that neither blocks nor fails: what nobody takes is dropped. */
interface LineSink {
  write(line: string): void;
  /** Lines dropped so far. */
  readonly dropped: number;
}

/**
 * Lines to a non-blocking FIFO. While containerd is away they stay in the FIFO until it is full (64 KiB), then they
 * are dropped; it works again as soon as somebody reads.
 */
export class FifoSink implements LineSink {
  readonly #fd: number;
  /** The rest of a line that was written in part: two lines must not be mixed. */
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

  /** Writes what is left of the last line. False when that is not possible now. */
  #flush(): boolean {
    while (this.#rest.length > 0) {
      try {
        this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest));
      } catch {
        // EAGAIN: full; EPIPE, EIO, ENOSPC: nobody or nothing to write to. There is nobody to tell: count it.
        return false;
      }
    }
    return true;
  }
}

/** The shim's logger: one JSON line a message, to containerd's log. */
export function createLog(
  level: string,
  fields: Record<string, unknown>,
  sink: LineSink = new FifoSink(LOG_FD),
): Logger {
  return pino(
    {
      ...{ level, base: fields, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "msg" },
      serializers: { err: pino.stdSerializers.wrapErrorSerializer(shown) },
      hooks: {
        logMethod(words, method) {
          method.apply(this, words.map((word: unknown) => shownValue(word)) as typeof words);
        },
      },
    },
    sink,
  );
}

/** Fields and messages may be in the words of a guest or a VMM, too. */
function shownValue(value: unknown, limit?: number): unknown {
  if (typeof value === "string") return printable(value, limit);
  if (typeof value !== "object" || value === null || value instanceof Error) return value;
  if (Array.isArray(value)) return value.map((entry) => shownValue(entry, limit));
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, entry]) => [printable(key), shownValue(entry, limit)]));
}

/** A cause may be in the words of a guest: they are for a terminal, too. */
function shown<T extends { message: string; stack: string }>(error: T): T {
  if (!(typeof error?.message === "string" && typeof error.stack === "string")) return error; // not an error
  return shownValue({ ...error }, ERROR_TEXT_LIMIT) as T;
}
