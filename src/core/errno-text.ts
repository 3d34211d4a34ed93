/** The texts of errno names, as libuv has them. */
const TEXTS: Readonly<Record<string, string>> = {
  E2BIG: "argument list too long",
  EACCES: "permission denied",
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "address not available",
  EAGAIN: "resource temporarily unavailable",
  EBADF: "bad file descriptor",
  EBUSY: "resource busy or locked",
  ECANCELED: "operation canceled",
  ECONNABORTED: "software caused connection abort",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EEXIST: "file already exists",
  EFBIG: "file too large",
  EHOSTUNREACH: "host is unreachable",
  EINTR: "interrupted system call",
  EINVAL: "invalid argument",
  EIO: "i/o error",
  EISDIR: "illegal operation on a directory",
  ELOOP: "too many symbolic links encountered",
  EMFILE: "too many open files",
  ENAMETOOLONG: "name too long",
  ENETDOWN: "network is down",
  ENETUNREACH: "network is unreachable",
  ENFILE: "file table overflow",
  ENOBUFS: "no buffer space available",
  ENODATA: "no data available",
  ENODEV: "no such device",
  ENOENT: "no such file or directory",
  ENOMEM: "not enough memory",
  ENOSPC: "no space left on device",
  ENOSYS: "function not implemented",
  ENOTCONN: "socket is not connected",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  ENXIO: "no such device or address",
  EOVERFLOW: "value too large for defined data type",
  EPERM: "operation not permitted",
  EPIPE: "broken pipe",
  EPROTO: "protocol error",
  EROFS: "read-only file system",
  ESRCH: "no such process",
  ETIMEDOUT: "connection timed out",
  ETXTBSY: "text file is busy",
  EXDEV: "cross-device link not permitted",
};

/** Errnos that libuv does not know, by their Linux numbers (asm-generic/errno.h). */
const UNKNOWN_TO_NODE: Readonly<Record<string, readonly [errno: string, text: string]>> = {
  "116": ["ESTALE", "stale file handle"],
  "117": ["EUCLEAN", "structure needs cleaning"],
  "122": ["EDQUOT", "disk quota exceeded"],
};
const UNKNOWN = /Unknown system error -(\d+)/;

/** Returns the errno name for the `code` of a Node error, which may be "Unknown system error -N". */
export function errnoName(code: string): string {
  const [, number = ""] = UNKNOWN.exec(code) ?? [];
  return UNKNOWN_TO_NODE[number]?.[0] ?? code;
}

/**
 * Adds the errno's text to the message of a failed system call unless the message has it: Node gives some
 * only the name (`spawn qemu EAGAIN`, `connect ECONNREFUSED /x.sock`), others both (`ENOENT: no such file or
 * directory, open '/x'`).
 */
export function withErrnoText(message: string, errno: string): string {
  const [unknown, number = ""] = UNKNOWN.exec(message) ?? [];
  const known = UNKNOWN_TO_NODE[number];
  if (unknown !== undefined && known)
    return message.replace(`${unknown}: `, "").replace(unknown, known.join(": "));
  const text = TEXTS[errno];
  if (text === undefined || !message.includes(errno) || message.includes(`${errno}: `)) return message;
  return message === errno ? text : `${message}: ${text}`;
}
