import { HullError, invalidArgument } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";

const KEY = /^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)+$/;

/**
 * Returns the file of a sysctl key. As in sysctl(8) the first separator decides: after a dot, dots separate
 * and a slash is a dot within a name (interface `eth0.1`); after a slash, the key is a path. Throws
 * InvalidArgument.
 */
export function sysctlPath(key: string): string {
  if (!KEY.test(key)) throw invalidArgument(`sysctl ${JSON.stringify(key.slice(0, 256))}: not a key`);
  const dotted = key.search(/[./]/) === key.indexOf(".");
  const path = dotted ? key.replace(/[./]/g, (separator) => (separator === "." ? "/" : ".")) : key;
  return `/proc/sys/${path}`;
}

/** Writes a sysctl. Throws InvalidArgument for a malformed key, Internal if the kernel does not have it. */
export function setSysctl(sys: Pick<Sys, "writeFile" | "O_WRONLY">, key: string, value: string): void {
  const path = sysctlPath(key);
  try {
    sys.writeFile(path, value, sys.O_WRONLY);
  } catch (error) {
    throw HullError.wrap(`sysctl ${key}=${value.slice(0, 256)}`, error, "Internal");
  }
}
