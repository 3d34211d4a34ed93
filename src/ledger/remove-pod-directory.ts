import { rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { ignoring } from "../core/errors.ts";
import { removeTree } from "../host/remove-tree.ts";

/** Removes a pod's directory, and that of its namespace if no other pod is in it. Idempotent. */
export async function removePodDirectory(directory: string, deadline: Deadline): Promise<void> {
  await removeTree(directory, deadline);
  // Another pod may be in it or be starting there, or another cleanup was faster.
  await rmdir(dirname(directory)).catch(ignoring("ENOTEMPTY", "EEXIST", "ENOENT"));
}
