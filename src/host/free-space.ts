import { statfs } from "node:fs/promises";
import { HullError } from "../core/errors.ts";

/** MiB that a file system has left. */
export async function freeMib(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder).catch((error: unknown) => {
    throw HullError.wrap(`free space of ${folder}`, error, "FailedPrecondition");
  });
  return Math.floor((bavail * bsize) / (1 << 20));
}
