import { type Duplex, duplexPair } from "./duplex-pair.ts";

/** A step of a script: what the client must send next, and the answers. */
export interface QmpStep {
  readonly command: string;
  /** Answers, in order; `$id` is replaced by the command's id. */
  readonly answers?: readonly Record<string, unknown>[];
  /** Delays the answers. */
  readonly after?: Promise<unknown>;
  /** Closes the connection instead of answering. */
  readonly hangUp?: boolean;
}

const GREETING = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 } }, capabilities: [] } };
export const ok = (result: unknown = {}) => ({ return: result, id: "$id" });

/** A QMP server that follows a script. `problems` lists deviations; check that it is empty at the end. */
export class FakeQmp {
  readonly client: Duplex;
  readonly server: Duplex;
  readonly problems: string[] = [];
  readonly received: { execute: string; arguments?: unknown; id: number }[] = [];
  readonly #steps: QmpStep[];
  #buffer = "";

  constructor(steps: readonly QmpStep[], greeting: unknown = GREETING /* null: none */) {
    [this.client, this.server] = duplexPair();
    this.#steps = [{ command: "qmp_capabilities", answers: [ok()] }, ...steps];
    this.server.on("data", (data: Buffer) => this.#receive(data.toString()));
    this.server.on("error", () => undefined);
    if (greeting !== null) this.send(greeting);
  }

  send(message: unknown): void {
    this.server.write(`${JSON.stringify(message)}\r\n`);
  }

  #receive(text: string): void {
    this.#buffer += text;
    for (let end = this.#buffer.indexOf("\n"); end >= 0; end = this.#buffer.indexOf("\n")) {
      const message = JSON.parse(this.#buffer.slice(0, end));
      this.#buffer = this.#buffer.slice(end + 1);
      this.received.push(message);
      const step = this.#steps.shift();
      if (!step || step.command !== message.execute) {
        this.problems.push(`expected ${step?.command ?? "nothing"}, got ${message.execute}`);
      } else setImmediate(() => void this.#answer(step, message.id));
    }
  }

  async #answer(step: QmpStep, id: number): Promise<void> {
    await step.after;
    if (step.hangUp) this.server.destroy();
    for (const answer of step.answers ?? []) this.send("id" in answer ? { ...answer, id } : answer);
  }
}
