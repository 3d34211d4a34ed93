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
