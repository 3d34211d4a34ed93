/**
 * hull's only error class. Its codes are containerd's error classes (package `errdefs`), which travel as gRPC
 * status numbers (grpc/doc/statuscodes.md). No class depends on the text of a message.
 */

import { errnoName, withErrnoText } from "./errno-text.ts";

/** Error classes and their gRPC status numbers. */
export const STATUS = {
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;

/** A containerd error class. */
export type ErrorCode = keyof typeof STATUS;

const CODE_OF_STATUS = new Map<number, ErrorCode>(
  Object.entries(STATUS).map(([code, status]) => [status, code as ErrorCode]),
);

/** Returns the error class of a gRPC status number; undefined if there is none. */
export function codeOfStatus(status: number): ErrorCode | undefined {
  return CODE_OF_STATUS.get(status);
}

/**
 * Errnos that mean the same whatever caused them. None maps to NotFound, AlreadyExists or Unimplemented:
 * containerd applies those to its own object (a Delete that returns NotFound has succeeded), and most paths
 * here are hull's.
 */
const CODE_OF_ERRNO: Readonly<Record<string, ErrorCode>> = {
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EINVAL: "InvalidArgument",
  ENAMETOOLONG: "InvalidArgument",
  EAGAIN: "ResourceExhausted",
  ENOSPC: "ResourceExhausted",
  EDQUOT: "ResourceExhausted",
  ENOMEM: "ResourceExhausted",
  EMFILE: "ResourceExhausted",
  ENFILE: "ResourceExhausted",
  EBUSY: "FailedPrecondition",
  ECONNREFUSED: "Unavailable",
  ECONNRESET: "Unavailable",
  EPIPE: "Unavailable",
  ETIMEDOUT: "DeadlineExceeded",
};

/** What to do about a full host; the message of the system call does not say it. */
const REMEDY_OF_ERRNO: Readonly<Record<string, string>> = {
  EAGAIN: "no more processes can be started: raise TasksMax of containerd's unit or pids.max of its cgroup",
  ENOSPC: "free space on that file system",
  EDQUOT: "raise the quota there",
  EMFILE: "raise LimitNOFILE of containerd's unit",
  ENFILE: "raise the host's fs.file-max",
  ENOMEM: "give the host or the pod's cgroup more memory",
};

/** The errnos of a path that does not exist. */
const NOTHING_THERE: readonly unknown[] = ["ENOENT", "ENOTDIR"];

/** The longest message in characters: an error may quote what a client sent, and travels to logs and Kubernetes events. */
const LONGEST_MESSAGE = 16_000;

/**
 * A failure with a containerd error class. The message is `object: step: cause; remedy`; one that is too long
 * loses its middle.
 */
export class HullError extends Error {
  override readonly name = "HullError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message.length > LONGEST_MESSAGE ? withoutMiddle(message) : message, options);
  }

  /** The gRPC status number of this error's class. */
  get status(): number {
    return STATUS[this.code];
  }

  /**
   * Converts anything thrown to a HullError: unchanged if it is one, else by its errno, else `fallback`. A
   * missing or existing file never becomes NotFound or AlreadyExists here; see `ofCallersPath`.
   */
  static from(thrown: unknown, fallback: ErrorCode = "Unknown"): HullError {
    if (thrown instanceof HullError) return thrown;
    if (!(thrown instanceof Error)) return new HullError(fallback, String(thrown));
    const errno = errnoOf(thrown) ?? "";
    const remedy = REMEDY_OF_ERRNO[errno];
    const text = withErrnoText(thrown.message, errno);
    const message = remedy ? `${text}; ${remedy}` : text;
    return new HullError(CODE_OF_ERRNO[errno] ?? fallback, message, { cause: thrown });
  }

  /** Prefixes the message with `step: `; the class stays. */
  static wrap(step: string, thrown: unknown, fallback?: ErrorCode): HullError {
    const inner = HullError.from(thrown, fallback);
    return new HullError(inner.code, `${step}: ${inner.message}`, { cause: thrown });
  }

  /** Appends to a failure that undoing it failed, too; class and cause stay. */
  static notUndone(cause: unknown, failure: string): HullError {
    const { code, message } = HullError.from(cause);
    return new HullError(code, `${message}; undoing it failed: ${failure}`, { cause });
  }

  /**
   * Like `wrap`, for a step on a path that the caller named (a mount's source, a bundle, a FIFO): a missing
   * path is NotFound. An existing one is not AlreadyExists, which would refer to the container.
   */
  static ofCallersPath(step: string, thrown: unknown, fallback?: ErrorCode): HullError {
    const missing = thrown instanceof Error && NOTHING_THERE.includes(errnoOf(thrown));
    return HullError.wrap(step, thrown, missing ? "NotFound" : fallback);
  }
}

function withoutMiddle(message: string): string {
  const half = LONGEST_MESSAGE / 2;
  return `${message.slice(0, half)} [...] ${message.slice(-half)}`;
}

/** Returns the errno name of a failed system call; undefined for any other error. */
export function errnoOf(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? errnoName(code) : undefined;
}

/** Returns a handler for `catch` that returns undefined for errors with one of these errno names and rethrows others. */
export function ignoring(...errnos: readonly string[]): (thrown: unknown) => undefined {
  return (thrown) => {
    if (!errnos.includes(errnoOf(thrown) ?? "")) throw thrown;
  };
}

/** The caller's object does not exist. To containerd, a Delete that fails with this has succeeded. */
export const notFound = (message: string) => new HullError("NotFound", message);
/** The caller's object exists already. */
export const alreadyExists = (message: string) => new HullError("AlreadyExists", message);
/** The request or the configuration is wrong, whatever the state of the system. */
export const invalidArgument = (message: string) => new HullError("InvalidArgument", message);
/** The request is not allowed in the present state. */
export const failedPrecondition = (message: string) => new HullError("FailedPrecondition", message);
/** The peer (guest, VMM, daemon) cannot be reached. */
export const unavailable = (message: string) => new HullError("Unavailable", message);
/** The operation did not finish within its deadline. */
export const deadlineExceeded = (message: string) => new HullError("DeadlineExceeded", message);
/** hull does not support the request. */
export const unimplemented = (message: string) => new HullError("Unimplemented", message);
/** A limit of hull, the pod or the host is reached. */
export const resourceExhausted = (message: string) => new HullError("ResourceExhausted", message);
/** The caller cancelled the operation. */
export const canceled = (message: string) => new HullError("Canceled", message);
/** An invariant of hull is broken. */
export const internal = (message: string) => new HullError("Internal", message);
