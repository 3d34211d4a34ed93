import { invalidArgument } from "../core/errors.ts";
import { MAX_SOCKET_PATH } from "../core/socket-path.ts";

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
