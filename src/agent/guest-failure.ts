import { type ErrorCode, HullError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import { PeerError } from "../ttrpc/client-call.ts";
import type { GuestAgent } from "./guest-agent.ts";

/** The calls that the guest answers, by their names in `GuestAgent`. */
export type GuestCall =
  | "hello"
  | Exclude<
      {
        [K in keyof GuestAgent]: GuestAgent[K] extends (...args: never) => unknown ? K : never;
      }[keyof GuestAgent],
      "onOom" | "close"
    >;

/** Characters of an error message that are kept. */
const MAX_TEXT = 4096;

/**
 * The classes that an error of each call may have: those about what the caller named or passed. containerd
 * acts on a class (a Delete that returns NotFound has succeeded, Unimplemented selects an older API), so that
 * any other becomes Unknown. NotFound is also for a program missing in the image (`createContainer`, `start`)
 * and an exited process (`signal`), not for a process that the guest has lost.
 */
const CLASSES: Readonly<Record<GuestCall, readonly ErrorCode[]>> = {
  hello: ["FailedPrecondition"],
  ping: [],
  startSandbox: ["InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  updateNetwork: ["InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  onlineResources: ["FailedPrecondition"],
  createContainer: ["NotFound", "InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  createExec: ["InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  start: ["NotFound", "InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  wait: [],
  signal: ["NotFound", "InvalidArgument"],
  resize: ["FailedPrecondition"],
  delete: ["FailedPrecondition"],
  pause: ["FailedPrecondition"],
  resume: ["FailedPrecondition"],
  update: ["InvalidArgument", "FailedPrecondition", "ResourceExhausted"],
  stats: ["FailedPrecondition"],
  openStream: ["ResourceExhausted"],
  shutdown: [],
};

/** Classes that only the host can determine: deadline exceeded, caller gone, connection lost. */
const HOSTS_OWN: readonly ErrorCode[] = ["DeadlineExceeded", "Canceled", "Unavailable"];

/**
 * Converts an error of `call` for the host's callers: a class that the call can have, a printable message.
 */
export function guestFailure(call: GuestCall, thrown: unknown): HullError {
  const error = HullError.from(thrown);
  const peer = error.cause instanceof PeerError ? error.cause : undefined;
  // Without the RPC method, which the client has put in front: the guest's message names the step.
  const text = printable(peer ? `guest agent: ${peer.message}` : error.message, MAX_TEXT);
  if (CLASSES[call].includes(error.code) || (!peer && HOSTS_OWN.includes(error.code))) {
    return new HullError(error.code, text, { cause: error });
  }
  return new HullError("Unknown", error.code === "Unknown" ? text : `${text} (reported as ${error.code})`, {
    cause: error,
  });
}
