import { Deadline } from "../core/deadline.ts";
import type { SharedDirectory } from "../storage/shared-directory.ts";
import type { ContainerShare, RootfsSource } from "./sandbox.ts";

/** How long freeing a container's mounts may take. */
const RELEASE_LIMIT_MS = 2_000;

/** What containers of a pod see of its shared directory. */
export function containerShare(share: SharedDirectory): ContainerShare {
  return {
    add: async (containerId, source, deadline) => {
      const release = async () => {
        const limit = Deadline.after(RELEASE_LIMIT_MS, `free the mounts of container ${containerId}`);
        await share.remove(containerId, limit);
        limit.dispose();
      };
      try {
        const rootfs = source && (await share.addRootfs(containerId, rootfsMounts(source), deadline));
        return {
          rootfs,
          bind: (mount) => share.addBind(containerId, mount.source ?? "", mount.options ?? [], deadline),
          release,
        };
      } catch (error) {
        await release();
        throw error;
      }
    },
  };
}

function rootfsMounts({ mounts, path }: RootfsSource): RootfsSource["mounts"] {
  return mounts.length > 0 ? mounts : [{ type: "bind", source: path, target: "", options: ["rbind"] }];
}
