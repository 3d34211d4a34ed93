import { statSync } from "node:fs";

/** Returns whether `path` exists and is a block device. */
export function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
}
