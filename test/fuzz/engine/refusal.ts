import { type ErrorCode, HullError } from "../../../src/core/errors.ts";

/** Characters that a refusal may have; it quotes a part of what was wrong. */
const LONGEST_MESSAGE = 20_000;

/** That what was thrown is a refusal as it must be; anything else is thrown on. Answers false, as a target then does. */
export function refusal(thrown: unknown, ...codes: readonly ErrorCode[]): false {
  if (!(thrown instanceof HullError)) throw thrown;
  if (!codes.includes(thrown.code)) throw new Error(`refused as ${thrown.code}`, { cause: thrown });
  if (thrown.message.length > LONGEST_MESSAGE)
    throw new Error(`refused with ${thrown.message.length} characters`, { cause: thrown });
  return false;
}
