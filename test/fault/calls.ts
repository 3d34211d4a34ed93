import { statusName } from "../testkit/containerd-client.ts";
import type { CallOptions } from "../testkit/grpc-client.ts";
import type { Step } from "./matrix.ts";

/** What a call of the client has come to. */
export interface Call {
  readonly step: Step | "clean-up";
  /** `create f1`. */
  readonly what: string;
  /** `OK` or the name of the gRPC status. */
  readonly code: string;
  readonly message: string;
  /** Unix times in ms. */
  readonly begun: number;
  readonly ended: number;
}

/** Far beyond what any call takes, however busy the machine is. */
export const FAR_MS = 60_000;

type Run<T> = (options: CallOptions) => Promise<T>;

/** A call that ends what the client had in mind. */
export class CallFailed extends Error {}

/** The calls of one client, one after the other, with what they have come to. */
export class Calls {
  readonly list: Call[] = [];
  /** Of the call that is under way. */
  #abort = new AbortController();
  #gone = false;

  /** Whether the client went away, maybe in the middle of a call, with which containerd goes on. */
  get gone(): boolean {
    return this.#gone;
  }

  /** The client goes away: the call that is under way is cancelled, and `make` makes no other. */
  goAway(): void {
    this.#gone = true;
    this.#abort.abort();
  }

  /** Throws CallFailed. */
  async make<T>(step: Step, what: string, run: Run<T>): Promise<void> {
    if (this.#gone) throw new CallFailed(`${what}: the client has gone away`);
    const { code } = await this.attempt(step, what, run);
    if (code !== "OK") throw new CallFailed(`${what}: ${code}`);
  }

  /** Rejects only for what is no answer of containerd's. */
  async attempt<T>(step: Call["step"], what: string, run: Run<T>): Promise<{ value?: T; code: string }> {
    this.#abort = new AbortController();
    const begun = Date.now();
    const note = (code: string, message: string) =>
      this.list.push({ step, what, code, message, begun, ended: Date.now() });
    try {
      const value = await run({ timeoutMs: FAR_MS, signal: this.#abort.signal });
      note("OK", "");
      return { value, code: "OK" };
    } catch (error) {
      const code = statusName(error);
      note(code, (error as { details?: string }).details ?? "");
      return { code };
    }
  }
}
