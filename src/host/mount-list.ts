import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { Place } from "./detached-mount.ts";
import { withFileSystem } from "./file-system.ts";
import { type MountSpec, unmountTree } from "./mount.ts";
import type { MountApi } from "./mount-api.ts";

/**
 * Mounts a list in order on `target`, whose parent is ours alone; if one fails, unmounts all. Symlinks in
 * targets, which are in the image, are refused. Throws InvalidArgument if an overlay's options are too long.
 */
export async function mountAll(
  mounts: readonly MountSpec[],
  target: string,
  api: MountApi,
  deadline: Deadline,
): Promise<void> {
  try {
    for (const one of mounts) {
      const place = { directory: target, path: one.target.replace(/^\/+/, "") };
      await mountOne(one, place, dirname(target), api, deadline);
    }
  } catch (thrown) {
    await unmountTree(target, deadline);
    throw thrown;
  }
}

/**
 * Mounts one of a list at `place`. `scratch`: our directory, which containerd's mount namespace has, too;
 * left empty.
 */
export async function mountOne(
  spec: MountSpec,
  place: Place,
  scratch: string,
  api: MountApi,
  deadline: Deadline,
): Promise<void> {
  try {
    if (isBind(spec)) await api.bind(spec.source, spec.options, place);
    else await withFileSystem(spec, scratch, api, deadline, (made) => made.attach(place));
  } catch (thrown) {
    // The list is containerd's, so a missing path is not NotFound for its client.
    const { code, message } = HullError.from(thrown);
    throw code === "NotFound" ? failedPrecondition(message) : thrown;
  }
}

/** Whether a mount is a bind mount, which is an operation and not a file system type. */
export function isBind({ type, options }: MountSpec): boolean {
  return type === "bind" || options.some((option) => option === "bind" || option === "rbind");
}
