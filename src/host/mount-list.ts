import { mkdtemp, rmdir } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { type MountSpec, mount, unmountTree } from "./mount.ts";
import type { MountApi, Place } from "./mount-api.ts";

/**
 * Mounts a list in order on `target`. Targets below it are places in what an image brought: a link there is refused. On a
 * failure what was mounted is taken off again.
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
      if (isBind(one)) await api.bind(one.source, one.options, place);
      else if (place.path === "") await mount(one, target, deadline);
      else await mountBeneath(one, place, api, deadline);
    }
  } catch (thrown) {
    await unmountTree(target, deadline);
    throw thrown;
  }
}

/** A bind is an operation, not a file system type. */
export function isBind({ type, options }: MountSpec): boolean {
  return type === "bind" || options.some((option) => option === "bind" || option === "rbind");
}

/** mount(8) only knows paths: it mounts beside the target, in a folder of ours, from where the mount is moved. */
async function mountBeneath(spec: MountSpec, place: Place, api: MountApi, deadline: Deadline): Promise<void> {
  const beside = await mkdtemp(`${place.directory}-`);
  try {
    await mount(spec, beside, deadline);
    await api.withClone(beside, false, (made) => made.attach(place));
  } finally {
    await api.unmount(beside);
    await rmdir(beside);
  }
}
