import { getSystemErrorName } from "node:util";
import { HullError } from "../core/errors.ts";

/**
 * Loads a Node addon of hull's own, built from native/; `name` is what messages call it. Its type is the caller's word.
 * Throws Unavailable when it cannot be loaded.
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

/** An addon's negative answer, which is an error number, as Node tells of failed system calls. */
export function systemError(answer: number): Error {
  const code = getSystemErrorName(answer);
  return Object.assign(new Error(code), { code });
}
