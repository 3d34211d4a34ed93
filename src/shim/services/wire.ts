import { invalidArgument } from "../../core/errors.ts";
import type { ProcessState } from "../../pod/process.ts";
import { Status } from "../../proto/generated/containerd/v1/types/task.ts";
import type { Any } from "../../proto/generated/google/protobuf/any.ts";
import type { Timestamp } from "../../proto/generated/google/protobuf/timestamp.ts";

/** Turns containerd's wire values into the model's and back. */

export function timestamp(date: Date): Timestamp {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 };
}

const STATUS: Readonly<Record<ProcessState, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  pausing: Status.PAUSING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
};

export function taskStatus(state: ProcessState): Status {
  return STATUS[state];
}

const ID = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;
const ID_LIMIT = 76;

/**
 * Checks an identifier against containerd's grammar (containerd pkg/identifiers): such an id is safe as a file name.
 * Throws InvalidArgument.
 */
export function checkId(what: string, id: string): void {
  if (id.length > ID_LIMIT)
    throw invalidArgument(`${what} "${id.slice(0, ID_LIMIT)}...": longer than ${ID_LIMIT} characters`);
  if (!ID.test(id)) {
    throw invalidArgument(
      `${what} "${id}": only letters, digits and single ".", "_", "-" between them are allowed`,
    );
  }
}

/** Decodes an Any that carries JSON of the type whose name ends so. Throws InvalidArgument. */
export function jsonAny(what: string, any: Any | undefined, typeSuffix: string): Record<string, unknown> {
  if (!any?.typeUrl.endsWith(typeSuffix)) {
    throw invalidArgument(
      `${what}: expected a value of type ${typeSuffix}, got ${any ? `"${any.typeUrl}"` : "none"}`,
    );
  }
  try {
    const value: unknown = JSON.parse(Buffer.from(any.value).toString("utf8"));
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (error) {
    throw invalidArgument(`${what}: ${error instanceof Error ? error.message : error}`);
  }
  throw invalidArgument(`${what}: not a JSON object`);
}
