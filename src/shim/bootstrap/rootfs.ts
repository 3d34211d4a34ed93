import type { Sys } from "./sys.ts";

/** The octal escapes of proc_pid_mountinfo(5): blank, tab, newline, backslash. */
const decodeOctal = (path: string) =>
  path.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)));

/** The mount points at or below `root` in the order in which they have to be unmounted. */
export function mountsBelow(mountinfo: string, root: string): string[] {
  return mountinfo
    .split("\n")
    .map((line) => decodeOctal(line.split(" ")[4] ?? ""))
    .filter((path) => path === root || path.startsWith(`${root}/`))
    .reverse();
}

/** Unmounts everything at and below `<bundle>/rootfs` in this mount namespace. No mount there is no error. */
export function unmountRootfs(sys: Sys, bundle: string): void {
  const mountinfo = new TextDecoder().decode(sys.readFile("/proc/self/mountinfo", 64 * 1024 * 1024));
  for (const path of mountsBelow(mountinfo, `${bundle}/rootfs`))
    sys.umount(path, sys.MNT_DETACH | sys.UMOUNT_NOFOLLOW);
}
