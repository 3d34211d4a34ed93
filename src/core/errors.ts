/**
 * The one error class of hull. Its codes are containerd's error classes (the `errdefs` package) together with
 * the gRPC status numbers that they travel as (grpc/doc/statuscodes.md). Nothing here matches message text.
 */

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

/** errno names whose meaning is the same wherever they come from. */
const CODE_OF_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "NotFound",
  ESRCH: "NotFound",
  EEXIST: "AlreadyExists",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EINVAL: "InvalidArgument",
  ENAMETOOLONG: "InvalidArgument",
  ENOSPC: "ResourceExhausted",
  ENOMEM: "ResourceExhausted",
  EMFILE: "ResourceExhausted",
  ENFILE: "ResourceExhausted",
  EBUSY: "FailedPrecondition",
  ECONNREFUSED: "Unavailable",
  ECONNRESET: "Unavailable",
  EPIPE: "Unavailable",
  ETIMEDOUT: "DeadlineExceeded",
};

/** Classes that speak of the caller's object: an errno only has them where the path was the caller's. */
const OF_THE_CALLERS_OBJECT: readonly (ErrorCode | undefined)[] = ["NotFound", "AlreadyExists"];

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
   * Turns anything thrown into a HullError: kept as it is, mapped by its errno, or `fallback`. Who names a fallback says
   * that the step's paths are hull's own: a file that is missing there (or in the way) is not the caller's NotFound
   * (AlreadyExists), which containerd would take for the state of its object.
   */
  static from(thrown: unknown, fallback?: ErrorCode): HullError {
    if (thrown instanceof HullError) return thrown;
    const otherwise = fallback ?? "Unknown";
    if (!(thrown instanceof Error)) return new HullError(otherwise, String(thrown));
    const errno = (thrown as { code?: unknown }).code;
    const code = typeof errno === "string" ? CODE_OF_ERRNO[errno] : undefined;
    const ours = fallback !== undefined && OF_THE_CALLERS_OBJECT.includes(code);
    return new HullError((ours ? undefined : code) ?? otherwise, thrown.message, { cause: thrown });
  }

  /** The same failure told one level up: `step: message`, the class unchanged. */
  static wrap(step: string, thrown: unknown, fallback?: ErrorCode): HullError {
    const inner = HullError.from(thrown, fallback);
    return new HullError(inner.code, `${step}: ${inner.message}`, { cause: thrown });
  }
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
