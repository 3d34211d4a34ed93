import { allSettled } from "../core/all-settled.ts";
import { Deadline } from "../core/deadline.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import type { SharedPath, SharedTree } from "../storage/shared-tree.ts";
import type { ContainerShare } from "./sandbox.ts";

/** Timeout for releasing a container's mounts. */
const RELEASE_LIMIT_MS = 2_000;

/** Returns the share of a pod's containers, on its shared tree. */
export function containerShare(tree: SharedTree): ContainerShare {
  return {
    add: async (containerId, source, deadline) => {
      // Includes mounts that are still pending when all are released because another one has failed.
      const held: Promise<SharedPath>[] = [];
      const hold = async (path: Promise<SharedPath>) => {
        held.push(path);
        return (await path).guestPath;
      };
      return {
        rootfs: source && (await hold(tree.addRootfs(rootfsMounts(source), deadline))),
        bind: (mount) => hold(tree.addBind(mount.source ?? "", mount.options ?? [], deadline)),
        release: async () => {
          await Deadline.within(RELEASE_LIMIT_MS, `free the mounts of container ${containerId}`, (limit) => {
            const released = held.map(async (path) => {
              const made = await path.catch(() => undefined); // its caller got the error; it is undone
              await made?.release(limit);
            });
            return allSettled(released);
          });
        },
      };
    },
  };
}

function rootfsMounts({ mounts, path }: RootfsSource): RootfsSource["mounts"] {
  return mounts.length > 0 ? mounts : [{ type: "bind", source: path, target: "", options: ["rbind"] }];
}
