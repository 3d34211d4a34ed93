import { HullError, invalidArgument } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";

const KEY = /^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)+$/;

/**
 * The file of a sysctl key. As in sysctl(8) the first separator decides: with a dot first, dots separate and a slash
 * stands for a dot within a name (an interface `eth0.1`); with a slash first it is the path itself.
 */
export function sysctlPath(key: string): string {
  if (!KEY.test(key)) throw invalidArgument(`sysctl ${JSON.stringify(key.slice(0, 256))}: not a key`);
  const dotted = key.search(/[./]/) === key.indexOf(".");
  const path = dotted ? key.replace(/[./]/g, (separator) => (separator === "." ? "/" : ".")) : key;
  return `/proc/sys/${path}`;
}

/** Writes one sysctl. Throws InvalidArgument for a bad key, Internal for one that this kernel does not have. */
export function setSysctl(sys: Pick<Sys, "writeFile" | "O_WRONLY">, key: string, value: string): void {
  const path = sysctlPath(key);
  try {
    sys.writeFile(path, value, sys.O_WRONLY);
  } catch (error) {
    throw HullError.wrap(`sysctl ${key}=${value.slice(0, 256)}`, error, "Internal");
  }
}
