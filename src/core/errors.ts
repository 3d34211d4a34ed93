/**
 * The one error class of hull. Its codes are containerd's error classes (the `errdefs` package) together with
 * the gRPC status numbers that they travel as (grpc/doc/statuscodes.md). No class depends on a message's text.
 */

import { errnoInWords, errnoName } from "./errno-words.ts";

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

export type ErrorCode = keyof typeof STATUS;

const CODE_OF_STATUS = new Map<number, ErrorCode>(
  Object.entries(STATUS).map(([code, status]) => [status, code as ErrorCode]),
);

/** The error class of a gRPC status number; undefined for a number that has none. */
export function codeOfStatus(status: number): ErrorCode | undefined {
  return CODE_OF_STATUS.get(status);
}

/**
 * errno names whose meaning is the same wherever they come from. None is NotFound, AlreadyExists or Unimplemented:
 * containerd takes those for the state of its own object (a deletion that says NotFound has succeeded), and a step's
 * file or tool is mostly hull's.
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

/** What to do about a host that is full: the message of the system call does not say it. */
const REMEDY_OF_ERRNO: Readonly<Record<string, string>> = {
  EAGAIN: "no more processes can be started: raise TasksMax of containerd's unit or pids.max of its cgroup",
  ENOSPC: "free space on that file system",
  EDQUOT: "raise the quota there",
  EMFILE: "raise LimitNOFILE of containerd's unit",
  ENFILE: "raise the host's fs.file-max",
  ENOMEM: "give the host or the pod's cgroup more memory",
};

/** The errno names that say that there is nothing at a path. */
const NOTHING_THERE: readonly unknown[] = ["ENOENT", "ENOTDIR"];

/** A failure with a containerd error class. The message names the object, the step, the cause and the remedy. */
export class HullError extends Error {
  override readonly name = "HullError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }

  /** The gRPC status number of this error's class. */
  get status(): number {
    return STATUS[this.code];
  }

  /**
   * Turns anything thrown into a HullError: kept as it is, mapped by its errno, or `fallback`. A file that is missing, or
   * in the way, is never NotFound or AlreadyExists here (`ofCallersPath`).
   */
  static from(thrown: unknown, fallback: ErrorCode = "Unknown"): HullError {
    if (thrown instanceof HullError) return thrown;
    if (!(thrown instanceof Error)) return new HullError(fallback, String(thrown));
    const errno = errnoOf(thrown) ?? "";
    const remedy = REMEDY_OF_ERRNO[errno];
    const words = errnoInWords(thrown.message, errno);
    const message = remedy ? `${words}; ${remedy}` : words;
    return new HullError(CODE_OF_ERRNO[errno] ?? fallback, message, { cause: thrown });
  }

  /** The same failure told one level up: `step: message`, the class unchanged. */
  static wrap(step: string, thrown: unknown, fallback?: ErrorCode): HullError {
    const inner = HullError.from(thrown, fallback);
    return new HullError(inner.code, `${step}: ${inner.message}`, { cause: thrown });
  }

  /** A failure whose undoing failed as well, told behind it: the class and the cause unchanged. */
  static notUndone(cause: unknown, failure: string): HullError {
    const { code, message } = HullError.from(cause);
    return new HullError(code, `${message}; undoing it failed: ${failure}`, { cause });
  }

  /**
   * As `wrap`, for a step whose path the caller has named (a mount's source, a bundle, a FIFO): nothing there is
   * NotFound. What is in the way is not AlreadyExists, which would be the container's.
   */
  static ofCallersPath(step: string, thrown: unknown, fallback?: ErrorCode): HullError {
    const missing = thrown instanceof Error && NOTHING_THERE.includes(errnoOf(thrown));
    return HullError.wrap(step, thrown, missing ? "NotFound" : fallback);
  }
}

/** The errno name of a failed system call, undefined for anything else thrown. */
export function errnoOf(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? errnoName(code) : undefined;
}

export const notFound = (message: string) => new HullError("NotFound", message);
export const alreadyExists = (message: string) => new HullError("AlreadyExists", message);
export const invalidArgument = (message: string) => new HullError("InvalidArgument", message);
export const failedPrecondition = (message: string) => new HullError("FailedPrecondition", message);
export const unavailable = (message: string) => new HullError("Unavailable", message);
export const deadlineExceeded = (message: string) => new HullError("DeadlineExceeded", message);
export const unimplemented = (message: string) => new HullError("Unimplemented", message);
export const resourceExhausted = (message: string) => new HullError("ResourceExhausted", message);
export const canceled = (message: string) => new HullError("Canceled", message);
export const internal = (message: string) => new HullError("Internal", message);
