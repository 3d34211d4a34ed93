import { statusName } from "../testkit/containerd-client.ts";
import type { CallOptions } from "../testkit/grpc-client.ts";
import type { Step } from "./matrix.ts";

/** The result of a client's call. */
export interface Call {
  readonly step: Step | "cleanup";
  /** `create f1`. */
  readonly what: string;
  /** `OK` or the name of the gRPC status. */
  readonly code: string;
  readonly message: string;
  /** Unix times in ms. */
  readonly begun: number;
  readonly ended: number;
}

/** Far longer than any call takes, however busy the machine is. */
export const FAR_MS = 60_000;

type Run<T> = (options: CallOptions) => Promise<T>;

/** A call has failed, so the client cannot continue. */
export class CallFailed extends Error {}

/** The sequential calls of a client, with their results. */
export class Calls {
  readonly list: Call[] = [];
  /** For the pending call. */
  #abort = new AbortController();
  #disconnected = false;

  /** Whether the client has disconnected, possibly during a call, which containerd then continues. */
  get disconnected(): boolean {
    return this.#disconnected;
  }

  /** Disconnects the client: cancels the pending call, and `make` refuses further ones. */
  disconnect(): void {
    this.#disconnected = true;
    this.#abort.abort();
  }

  /** Makes a call. Rejects with CallFailed if it fails. */
  async make<T>(step: Step, what: string, run: Run<T>): Promise<void> {
    if (this.#disconnected) throw new CallFailed(`${what}: the client has disconnected`);
    const { code } = await this.attempt(step, what, run);
    if (code !== "OK") throw new CallFailed(`${what}: ${code}`);
  }

  /** Makes a call that may fail. Rejects only if the error is not an answer of containerd. */
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
