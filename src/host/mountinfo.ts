import { readFile } from "node:fs/promises";
import { type MountInfo, parseMountInfo } from "../core/mountinfo.ts";

/** Returns the mounts of this process's mount namespace, in mount order. */
export async function readMountInfo(): Promise<MountInfo[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}
