import { invalidArgument } from "../core/errors.ts";

/** Longest path of a unix socket: sun_path holds 108 bytes with the closing NUL (unix(7)). */
const MAX_SOCKET_PATH = 107;

/** Throws InvalidArgument when `path` is too long for a unix socket, which bind(2) would only call "invalid". */
export function checkSocketPath(path: string): string {
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH) {
    throw invalidArgument(
      `socket ${path}: its path has ${length} bytes, a Unix socket path can have at most ${MAX_SOCKET_PATH}; use a shorter pod id or namespace`,
    );
  }
  return path;
}
