// biome-ignore lint/style/useNodejsImportProtocol: the C module of guest-agent/sys, not Node's
import type * as SysModule from "sys";
import { errnoOf } from "../../core/errors.ts";

/** The system calls of the launcher: guest-agent/sys in the binary, a fake in unit tests. */
export type Sys = typeof SysModule;

/** A signal number (signal(7)). */
export const SIGKILL = 9;
/** A signal number (signal(7)). */
export const SIGTERM = 15;

/** The mask of the file type in `st_mode` (inode(7)). */
export const S_IFMT = 0o170000;
/** A directory. */
export const S_IFDIR = 0o040000;
/** A FIFO. */
export const S_IFIFO = 0o010000;

/** Returns the result of `read`, or undefined if it throws ENOENT. */
export function ifExists<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Returns whether `path` exists, without following a symlink. */
export function exists(sys: Sys, path: string): boolean {
  return ifExists(() => sys.lstat(path)) !== undefined;
}

/** Writes all of `text`, and waits while a pipe is full. */
export function writeAll(sys: Sys, fd: number, text: string | Uint8Array): void {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  for (let at = 0; at < bytes.length; ) {
    const count = sys.write(fd, bytes, at, bytes.length - at);
    if (count < 0) sys.setNonblock(fd, false);
    else at += count;
  }
}
