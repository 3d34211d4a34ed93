import { getSystemErrorName } from "node:util";
import { HullError } from "../core/errors.ts";

/**
 * Loads one of hull's own Node addons (native/) as a T, which is not checked; `name` is for messages. Throws
 * Unavailable if it cannot be loaded.
 */
export function loadAddon<T>(name: string, path: string): T {
  const holder = { exports: {} };
  try {
    process.dlopen(holder, path);
  } catch (error) {
    throw HullError.wrap(`${name} addon ${path}`, error, "Unavailable");
  }
  return holder.exports as T;
}

/** Converts an addon's negative result, an errno, to an error like those of Node's system calls. */
export function systemError(answer: number): Error {
  const code = getSystemErrorName(answer);
  return Object.assign(new Error(code), { code });
}
