import { alreadyExists, invalidArgument } from "../../../src/core/errors.ts";
import type { Stream } from "./stream.ts";

const TOKEN = /^[0-9a-f]{32}$/;

/** Throws InvalidArgument unless `token` is 32 lower-case hex digits. The message does not repeat it. */
export function checkToken(token: string): void {
  if (!TOKEN.test(token)) throw invalidArgument("stdio token: want 32 lower-case hex digits");
}

/** Which stream a token opens. A token works once. */
export class TokenTable {
  readonly #streams = new Map<string, Stream>();

  register(token: string, stream: Stream): void {
    if (this.#streams.has(token)) throw alreadyExists("stdio token: in use; every stream needs its own");
    this.#streams.set(token, stream);
  }

  /** The stream of `token`, which is used up by this. */
  take(token: string): Stream | undefined {
    const stream = this.#streams.get(token);
    this.#streams.delete(token);
    return stream;
  }

  forget(token: string): void {
    this.#streams.delete(token);
  }
}
