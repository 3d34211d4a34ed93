import { invalidArgument } from "../../core/errors.ts";
import type { ProcessState } from "../../pod/process.ts";
import { Status } from "../../proto/generated/containerd/v1/types/task.ts";
import type { Any } from "../../proto/generated/google/protobuf/any.ts";

/** Turns containerd's wire values into the model's and back. */

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
