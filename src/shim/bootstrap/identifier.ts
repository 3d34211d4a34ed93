import { invalidArgument } from "../../core/errors.ts";

const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;
const MAX_LENGTH = 76;

/**
 * Throws InvalidArgument unless `value` follows containerd's grammar for ids and namespaces (pkg/identifiers): letters
 * and digits with single `.`, `_` or `-` between them, at most 76 characters. A valid one is safe as a path element.
 */
export function checkIdentifier(what: string, value: string): void {
  if (value === "") throw invalidArgument(`${what} is empty`);
  if (value.length > MAX_LENGTH) {
    throw invalidArgument(
      `${what} ${value.slice(0, 20)}... has ${value.length} characters, ${MAX_LENGTH} are allowed`,
    );
  }
  if (!IDENTIFIER.test(value)) {
    throw invalidArgument(
      `${what} ${JSON.stringify(value)} is not valid; use letters and digits, with single '.', '_' or '-' between them`,
    );
  }
}
