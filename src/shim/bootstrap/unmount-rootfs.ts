import { mountPoints } from "../../core/mountinfo.ts";
import type { Sys } from "./sys.ts";

/**
 * Returns the mount points at or below `root` that are not inside another one of these; unmounting them detaches the
 * inner ones. A path inside a mount is not used, as it may contain a symlink. A path is returned once per mount on it.
 */
export function mountsBelow(mountinfo: string, root: string): string[] {
  const found = mountPoints(mountinfo).filter((path) => path === root || path.startsWith(`${root}/`));
  return found.filter((path) => !found.some((other) => path.startsWith(`${other}/`)));
}

/** Unmounts everything at and below `<bundle>/rootfs` in this mount namespace, if anything is mounted there. */
export function unmountRootfs(sys: Sys, bundle: string): void {
  const mountinfo = new TextDecoder().decode(sys.readFile("/proc/self/mountinfo", 64 * 1024 * 1024));
  for (const path of mountsBelow(mountinfo, `${bundle}/rootfs`))
    sys.umount(path, sys.MNT_DETACH | sys.UMOUNT_NOFOLLOW);
}
