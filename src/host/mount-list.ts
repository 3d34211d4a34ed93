import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError } from "../core/errors.ts";
import type { Place } from "./detached-mount.ts";
import { withFileSystem } from "./file-system.ts";
import { type MountSpec, unmountTree } from "./mount.ts";
import type { MountApi } from "./mount-api.ts";

/**
 * Mounts a list in order on `target`, beside which is nobody else's. Targets below it are places in what an image brought: a
 * link there is refused. On a failure what was mounted is taken off again.
 * Throws InvalidArgument when the options of an overlay are too long even when written relative.
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

/** Mounts one of a list at `place`; `scratch`: a directory of ours that containerd's mount namespace has, too. */
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
    // A list is containerd's: what is missing is no object of the caller's.
    const { code, message } = HullError.from(thrown);
    throw code === "NotFound" ? failedPrecondition(message) : thrown;
  }
}

/** A bind is an operation, not a file system type. */
export function isBind({ type, options }: MountSpec): boolean {
  return type === "bind" || options.some((option) => option === "bind" || option === "rbind");
}
