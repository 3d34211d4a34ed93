import { openSync } from "node:fs";
import { join } from "node:path";
import { MountApi } from "../../src/host/mount-api.ts";

/** Returns the built addon, for this process's mount namespace and root. */
export function ownMountApi(): MountApi {
  const view = { namespace: openSync("/proc/self/ns/mnt", "r"), root: openSync("/", "r") };
  return new MountApi(join(import.meta.dirname, "../../dist/lib/mount-api.node"), view);
}
