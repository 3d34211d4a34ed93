import { allowing, type Sys } from "../sys.ts";

interface Mount {
  source: string;
  target: string;
  type: string;
  flags: number;
  data?: string;
}

/** Where the cgroup v2 hierarchy is mounted. */
export const CGROUP_ROOT = "/sys/fs/cgroup";

/** The kernel file systems of the guest, in mount order. */
function bootMounts(sys: Pick<Sys, "MS_NOSUID" | "MS_NODEV" | "MS_NOEXEC">): Mount[] {
  const { MS_NOSUID, MS_NODEV, MS_NOEXEC } = sys;
  const strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  return [
    { source: "proc", target: "/proc", type: "proc", flags: strict },
    { source: "sysfs", target: "/sys", type: "sysfs", flags: strict },
    { source: "devtmpfs", target: "/dev", type: "devtmpfs", flags: MS_NOSUID, data: "mode=0755" },
    {
      source: "devpts",
      target: "/dev/pts",
      type: "devpts",
      flags: MS_NOSUID | MS_NOEXEC,
      data: "newinstance,ptmxmode=0666,mode=0620,gid=5",
    },
    { source: "shm", target: "/dev/shm", type: "tmpfs", flags: MS_NOSUID | MS_NODEV, data: "mode=1777" },
    { source: "run", target: "/run", type: "tmpfs", flags: MS_NOSUID | MS_NODEV, data: "mode=0755" },
    { source: "tmp", target: "/tmp", type: "tmpfs", flags: MS_NOSUID | MS_NODEV, data: "mode=1777" },
    { source: "cgroup2", target: CGROUP_ROOT, type: "cgroup2", flags: strict },
  ];
}

/**
 * Mounts the kernel file systems and creates the symlinks in /dev. Leaves a target that the kernel has
 * mounted (devtmpfs) alone.
 */
export function mountAll(sys: Sys): void {
  for (const { source, target, type, flags, data } of bootMounts(sys)) {
    sys.mkdirp(target, 0o755);
    allowing(["EBUSY"], () => sys.mount(source, target, type, flags, data ?? ""));
  }
  const links: [string, string][] = [
    ["/proc/self/fd", "/dev/fd"],
    ["/proc/self/fd/0", "/dev/stdin"],
    ["/proc/self/fd/1", "/dev/stdout"],
    ["/proc/self/fd/2", "/dev/stderr"],
  ];
  for (const [to, path] of links) allowing(["EEXIST"], () => sys.symlink(to, path));
}

/**
 * Lets the children of `cgroup` use every controller that the kernel has: in cgroup v2 a controller works in
 * a child only if its parent lists it in `cgroup.subtree_control`.
 */
export function enableControllers(
  sys: Pick<Sys, "readFile" | "writeFile" | "O_WRONLY">,
  cgroup: string,
): void {
  const controllers = new TextDecoder().decode(sys.readFile(`${cgroup}/cgroup.controllers`)).split(/\s+/);
  const all = controllers.filter((name) => name !== "").map((name) => `+${name}`);
  if (all.length > 0) sys.writeFile(`${cgroup}/cgroup.subtree_control`, all.join(" "), sys.O_WRONLY);
}
