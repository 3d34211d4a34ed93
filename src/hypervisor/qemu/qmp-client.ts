import type { Duplex } from "node:stream";
import type { Deadline } from "../../core/deadline.ts";
import { HullError, internal, unavailable } from "../../core/errors.ts";
import { LineSplitter } from "../../core/line-splitter.ts";
import { PendingCalls } from "../../core/pending-calls.ts";
import { printable, textOf } from "../../core/printable.ts";
import type { QmpCommand, QmpCommands, QmpEvent, QmpEvents } from "./qmp-types.ts";

/** QMP answers are far smaller; a longer line ends the connection. */
const MAX_LINE = 1024 * 1024;
const MAX_DESCRIPTION = 1000;
const LOG_LINES = 12;
const LOG_LINE_LENGTH = 240;

interface Pending {
  resolve(result: unknown): void;
  reject(error: HullError): void;
  readonly command: QmpCommand;
}

type EventListener = (data: never) => void;

/** QEMU's refusal of a command; `errorClass` is QMP's error class (`GenericError`, `DeviceNotFound` ...). */
export class QmpError extends HullError {
  constructor(
    command: QmpCommand,
    readonly errorClass: string,
    description: string,
  ) {
    super("FailedPrecondition", `qemu: ${command}: ${printable(description, MAX_DESCRIPTION)}`);
  }
}

/**
 * A QMP connection (docs/interop/qmp-spec). Replies are matched by id, so commands may overlap, and replies to abandoned
 * commands are ignored. When the connection ends, all pending commands are rejected.
 */
export class QmpClient {
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<string, Set<EventListener>>();
  readonly #log: string[] = [];
  #nextId = 1;
  readonly #lines = new LineSplitter();
  #ended: HullError | undefined;
  #greeted: (() => void) | undefined;
  readonly #greeting: Promise<void>;

  private constructor(
    readonly stream: Duplex,
    readonly calls: PendingCalls,
  ) {
    this.#greeting = new Promise((resolve) => {
      this.#greeted = resolve;
    });
    // Lines are decoded as UTF-8 when complete; latin1 keeps the bytes of characters that a chunk splits.
    stream.on("data", (data: Buffer) => this.#receive(data.toString("latin1")));
    stream.on("error", (error) =>
      this.#end(unavailable(`qemu: the QMP connection failed: ${HullError.from(error).message}`)),
    );
    stream.on("close", () => this.#end(unavailable("qemu: the QMP connection was lost")));
    stream.on("end", () => this.#end(unavailable("qemu: the QMP connection was lost")));
  }

  /** Waits for the greeting and leaves negotiation mode. */
  static async connect(
    stream: Duplex,
    deadline: Deadline,
    calls: PendingCalls = new PendingCalls(),
  ): Promise<QmpClient> {
    const client = new QmpClient(stream, calls);
    const ended = new Promise<never>((_, reject) => {
      client.#pending.set(0, { resolve: () => undefined, reject, command: "qmp_capabilities" });
    });
    try {
      await deadline.race(Promise.race([client.#greeting, ended]));
    } catch (thrown) {
      stream.destroy();
      throw HullError.wrap("qemu: no QMP greeting", thrown);
    } finally {
      client.#pending.delete(0);
    }
    await client.execute("qmp_capabilities", undefined, deadline);
    return client;
  }

  /** Runs a command. Rejects with QmpError if QEMU refuses it; other errors include the last lines of the protocol. */
  async execute<C extends QmpCommand>(
    command: C,
    args: QmpCommands[C]["arguments"],
    deadline: Deadline,
  ): Promise<QmpCommands[C]["result"]> {
    deadline.check();
    if (this.#ended) throw this.#ended;
    const id = this.#nextId++;
    const reply = new Promise<unknown>((resolve, reject) =>
      this.#pending.set(id, { resolve, reject, command }),
    );
    const line = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id });
    this.#note(`> ${line}`);
    const done = this.calls.begin(`qemu: ${command}`);
    this.stream.write(`${line}\n`);
    try {
      return await deadline.race(reply);
    } catch (thrown) {
      if (thrown instanceof QmpError) throw thrown;
      throw HullError.wrap(
        `qemu: ${command}`,
        new HullError(HullError.from(thrown).code, `${(thrown as Error).message}${this.#tail()}`),
      );
    } finally {
      done();
      this.#pending.delete(id);
    }
  }

  /** Calls `listener` for every event `event` until the returned function is called. */
  on<E extends QmpEvent>(event: E, listener: (data: QmpEvents[E]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener as EventListener);
    return () => listeners.delete(listener as EventListener);
  }

  close(): void {
    this.#end(unavailable("qemu: the QMP connection was closed"));
  }

  #receive(text: string): void {
    for (const bytes of this.#lines.push(text)) {
      const line = Buffer.from(bytes, "latin1").toString("utf8").trim();
      if (line !== "") this.#handle(line);
      if (this.#ended) return;
    }
    if (this.#lines.unfinished > MAX_LINE)
      this.#end(internal(`qemu: a QMP line of more than ${MAX_LINE} bytes`));
  }

  #handle(line: string): void {
    this.#note(`< ${line}`);
    const message = parse(line);
    if (!message) this.#end(internal(`qemu: ${JSON.stringify(line.slice(0, LOG_LINE_LENGTH))} is not QMP`));
    else if ("QMP" in message) this.#greeted?.();
    else if (typeof message.event === "string") this.#emit(message.event, message.data ?? {});
    else if (typeof message.id === "number") this.#reply(message.id, message);
  }

  /** Listeners rely on an event's documented form. If one throws because of another form, the connection ends. */
  #emit(event: string, data: unknown): void {
    try {
      for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(data as never);
    } catch {
      const text = printable(textOf(data), LOG_LINE_LENGTH);
      this.#end(
        internal(`qemu: the event ${printable(event, LOG_LINE_LENGTH)} has an unknown form: ${text}`),
      );
    }
  }

  #reply(id: number, message: Record<string, unknown>): void {
    const pending = this.#pending.get(id);
    if (!pending) return; // abandoned
    const error = message.error as { class?: unknown; desc?: unknown } | undefined;
    if (error) pending.reject(new QmpError(pending.command, textOf(error.class), textOf(error.desc)));
    else pending.resolve(message.return);
  }

  #end(error: HullError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const pending of [...this.#pending.values()]) pending.reject(error);
    this.#lines.clear();
    this.stream.destroy();
  }

  #note(line: string): void {
    this.#log.push(printable(line, LOG_LINE_LENGTH));
    if (this.#log.length > LOG_LINES) this.#log.shift();
  }

  #tail(): string {
    return this.#log.length === 0 ? "" : `; the last QMP lines:\n${this.#log.join("\n")}`;
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // the caller ends the connection
  }
}
