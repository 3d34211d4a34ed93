import { statfs } from "node:fs/promises";
import { HullError } from "../core/errors.ts";

/** MiB that a file system has left. */
export async function freeMib(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory).catch((error: unknown) => {
    throw HullError.wrap(`free space of ${directory}`, error, "FailedPrecondition");
  });
  return Math.floor((bavail * bsize) / (1 << 20));
}
