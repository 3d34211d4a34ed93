import { HullError } from "../core/errors.ts";
import type { MountApi } from "../host/mount-api.ts";

/** The default of docker, containerd and CRI-O: 64 MiB. */
const DEFAULT_BYTES = 64n << 20n;

/** Returns the size in bytes of a pod's /dev/shm: that of the tmpfs that the host has for it. */
export async function shmSize(source: string | undefined, mounts: MountApi): Promise<bigint> {
  if (source === undefined) return DEFAULT_BYTES;
  const size = await mounts
    .withSource(source, (found) => found.fileSystemSize())
    .catch((error: unknown) => {
      throw HullError.wrap("shared memory of the pod", error);
    });
  return size || DEFAULT_BYTES; // 0 means a tmpfs without a limit
}
