import { statSync } from "node:fs";

/** Whether `path` is a block device; what does not exist is none. */
export function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
}
