import { type ErrorCode, HullError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import { PeerError } from "../ttrpc/client-call.ts";
import type { GuestAgent } from "./guest-agent.ts";

/** The calls that a guest answers, by the names that `GuestAgent` has for them. */
export type GuestCall =
  | "hello"
  | Exclude<
      {
        [K in keyof GuestAgent]: GuestAgent[K] extends (...args: never) => unknown ? K : never;
      }[keyof GuestAgent],
      "onOom" | "close"
    >;

/** Characters of a failure's text that are believed to be worth telling. */
const MAX_TEXT = 4096;

/**
 * The classes that a failure of each call may have, because they are about what the caller named or gave. containerd acts
 * on a class (NotFound of a deletion is success, Unimplemented makes it speak an older API), so whatever else the guest
 * says becomes Unknown. A guest that does not find a process again has lost it, which is not the caller's NotFound either,
 * but for a program that is missing in its image (`createContainer`, `start`) and for a process that has ended (`signal`).
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

/** What only the host can know: that the time is over, that its caller has gone, that the connection is lost. */
const HOSTS_OWN: readonly ErrorCode[] = ["DeadlineExceeded", "Canceled", "Unavailable"];

/** The failure of `call` as the host's callers may see it: a class that the call can have, a text that can be shown. */
export function guestFailure(call: GuestCall, thrown: unknown): HullError {
  const error = HullError.from(thrown);
  const text = printable(error.message, MAX_TEXT);
  const ours = !(error.cause instanceof PeerError);
  if (CLASSES[call].includes(error.code) || (ours && HOSTS_OWN.includes(error.code))) {
    return new HullError(error.code, text, { cause: error });
  }
  return new HullError("Unknown", error.code === "Unknown" ? text : `${text} (reported as ${error.code})`, {
    cause: error,
  });
}
