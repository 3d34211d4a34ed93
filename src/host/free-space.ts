import { statfs } from "node:fs/promises";
import { HullError } from "../core/errors.ts";

/** Returns the MiB that the file system of `directory` has free. Throws FailedPrecondition. */
export async function freeMib(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory).catch((error: unknown) => {
    throw HullError.wrap(`free space of ${directory}`, error, "FailedPrecondition");
  });
  return Math.floor((bavail * bsize) / (1 << 20));
}
