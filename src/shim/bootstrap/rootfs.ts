import { parseMountInfo } from "../../core/mountinfo.ts";
import type { Sys } from "./sys.ts";

/**
 * The mount points at or below `root` that are in no other mount there: with them goes all that is in them. Names within a
 * mount may have been made to lead elsewhere. Several on one place are as many.
 */
export function mountsBelow(mountinfo: string, root: string): string[] {
  const found = parseMountInfo(mountinfo)
    .map(({ target }) => target)
    .filter((path) => path === root || path.startsWith(`${root}/`));
  return found.filter((path) => !found.some((other) => path.startsWith(`${other}/`)));
}

/** Unmounts everything at and below `<bundle>/rootfs` in this mount namespace. No mount there is no error. */
export function unmountRootfs(sys: Sys, bundle: string): void {
  const mountinfo = new TextDecoder().decode(sys.readFile("/proc/self/mountinfo", 64 * 1024 * 1024));
  for (const path of mountsBelow(mountinfo, `${bundle}/rootfs`))
    sys.umount(path, sys.MNT_DETACH | sys.UMOUNT_NOFOLLOW);
}
