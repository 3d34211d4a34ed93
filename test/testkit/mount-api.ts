import { openSync } from "node:fs";
import { join } from "node:path";
import { MountApi } from "../../src/host/mount-api.ts";

/** The build's addon, for callers that see the host as this process does. */
export function ownMountApi(): MountApi {
  const view = { namespace: openSync("/proc/self/ns/mnt", "r"), root: openSync("/", "r") };
  return new MountApi(join(import.meta.dirname, "../../dist/lib/mount-api.node"), view);
}
