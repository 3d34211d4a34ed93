import { type ErrorCode, HullError } from "../../../src/core/errors.ts";

/** Maximum length of an error in characters; it may quote a part of the input. */
const LONGEST_MESSAGE = 20_000;

/**
 * Returns false, a target's result for refused input, if the error is a well-formed HullError with one of
 * `codes`. Throws otherwise.
 */
export function refusal(thrown: unknown, ...codes: readonly ErrorCode[]): false {
  if (!(thrown instanceof HullError)) throw thrown;
  if (!codes.includes(thrown.code)) throw new Error(`refused as ${thrown.code}`, { cause: thrown });
  if (thrown.message.length > LONGEST_MESSAGE)
    throw new Error(`refused with ${thrown.message.length} characters`, { cause: thrown });
  return false;
}
