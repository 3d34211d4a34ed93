import { invalidArgument } from "../../core/errors.ts";
import type { ProcessState } from "../../pod/process.ts";
import { Status } from "../../proto/generated/containerd/v1/types/task.ts";
import type { Any } from "../../proto/generated/google/protobuf/any.ts";

const STATUS: Readonly<Record<ProcessState, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  pausing: Status.PAUSING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
};

/** Returns containerd's status for a state of the pod model. */
export function taskStatus(state: ProcessState): Status {
  return STATUS[state];
}

/**
 * Decodes an Any with a JSON object whose type URL ends with `typeSuffix`; `what` names it in errors. Throws
 * InvalidArgument.
 */
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
