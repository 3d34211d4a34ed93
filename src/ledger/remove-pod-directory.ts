import { rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { removeTree } from "../host/remove-tree.ts";

/** Removes a pod's directory, and that of its namespace if no other pod is in it. Idempotent. */
export async function removePodDirectory(directory: string, deadline: Deadline): Promise<void> {
  await removeTree(directory, deadline);
  await rmdir(dirname(directory)).catch((error: NodeJS.ErrnoException) => {
    // Another pod is in it or is starting there, or another cleanup was faster.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST" && error.code !== "ENOENT") throw error;
  });
}
