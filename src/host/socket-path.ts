import { invalidArgument } from "../core/errors.ts";
import { MAX_SOCKET_PATH } from "../core/socket-path.ts";

/**
 * Returns `path`. Throws InvalidArgument if it is too long for a Unix socket, for which bind(2) only returns
 * EINVAL.
 */
export function checkSocketPath(path: string): string {
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH) {
    throw invalidArgument(
      `socket ${path}: its path has ${length} bytes, a Unix socket path can have at most ` +
        `${MAX_SOCKET_PATH}; use a shorter pod id or namespace`,
    );
  }
  return path;
}
