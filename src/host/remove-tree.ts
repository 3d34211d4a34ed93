import { rm } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition } from "../core/errors.ts";
import { mountsBelow, unmountTree } from "./mount.ts";

/**
 * Unmounts everything at and below `path`, then removes it. Refuses to remove anything while something is still
 * mounted there, since that would be somebody's data. Idempotent.
 */
export async function removeTree(path: string, deadline: Deadline): Promise<void> {
  await unmountTree(path, deadline);
  const left = await mountsBelow(path);
  if (left.length > 0) throw failedPrecondition(`remove ${path}: ${left[0]} is still mounted`);
  await rm(path, { recursive: true, force: true });
}
