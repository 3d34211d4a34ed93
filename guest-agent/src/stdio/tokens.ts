import { alreadyExists, invalidArgument } from "../../../src/core/errors.ts";
import type { Stream } from "./stream.ts";

const TOKEN = /^[0-9a-f]{32}$/;

/** Throws InvalidArgument unless `token` is 32 lower-case hex digits. The message does not contain it. */
export function checkToken(token: string): void {
  if (!TOKEN.test(token)) throw invalidArgument("stdio token: must be 32 lower-case hex digits");
}

/** Maps tokens to streams. A token works once. */
export class TokenTable {
  readonly #streams = new Map<string, Stream>();

  /** Adds a token. Throws AlreadyExists if it is in use. */
  register(token: string, stream: Stream): void {
    if (this.#streams.has(token)) throw alreadyExists("stdio token: in use; every stream needs its own");
    this.#streams.set(token, stream);
  }

  /** Returns the stream of `token` and removes the token; undefined if it is unknown. */
  take(token: string): Stream | undefined {
    const stream = this.#streams.get(token);
    this.#streams.delete(token);
    return stream;
  }

  /** Removes a token, if it is there. */
  forget(token: string): void {
    this.#streams.delete(token);
  }
}
