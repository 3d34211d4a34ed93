import { rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { removeTree } from "../host/remove-tree.ts";

/** Removes a pod's folder, and its namespace's when that was the last pod in it. Idempotent. */
export async function removePodDirectory(directory: string, deadline: Deadline): Promise<void> {
  await removeTree(directory, deadline);
  await rmdir(dirname(directory)).catch((error: NodeJS.ErrnoException) => {
    // Another pod is in it, or a start that is under way; or another end was faster.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST" && error.code !== "ENOENT") throw error;
  });
}
