// biome-ignore lint/style/useNodejsImportProtocol: the C module of guest-agent/sys, not Node's
import type * as SysModule from "sys";
import { errnoOf } from "../../core/errors.ts";

/** The system calls the launcher is given: guest-agent/sys in the real binary, a fake in unit tests. */
export type Sys = typeof SysModule;

export const SIGKILL = 9;
export const SIGTERM = 15;

/** What `read` gives, or undefined when the file does not exist. Other failures are thrown. */
export function ifExists<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether there is anything at `path`; a link is not followed. */
export function exists(sys: Sys, path: string): boolean {
  return ifExists(() => sys.lstat(path)) !== undefined;
}

/** Writes all of it, also to a full pipe of somebody who reads slowly. */
export function writeAll(sys: Sys, fd: number, text: string | Uint8Array): void {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  for (let at = 0; at < bytes.length; ) {
    const count = sys.write(fd, bytes, at, bytes.length - at);
    if (count < 0) sys.setNonblock(fd, false);
    else at += count;
  }
}
