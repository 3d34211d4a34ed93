import { allowing, type Sys } from "../sys.ts";
import { CGROUP_ROOT, enableControllers } from "./mounts.ts";

const CRUN = "/usr/bin/crun";
const CRUN_READ_ONLY = "/run/hull/bin/crun";

/** Numbers are given to processes for the life of the VM without coming round: an exit is never mistaken for another's. */
const PID_MAX = "4194304";

/** The agent's own folders, limits and cgroups. Returns the path of crun to be used. */
export function prepareGuest(sys: Sys): string {
  for (const folder of ["/run/hull/containers", "/run/hull/console", "/run/hull/bin", "/run/crun"]) {
    sys.mkdirp(folder, 0o700);
  }
  sys.writeFile("/proc/sys/kernel/pid_max", PID_MAX, sys.O_WRONLY);
  enableControllers(sys, CGROUP_ROOT);
  allowing(["EEXIST"], () => sys.mkdir(`${CGROUP_ROOT}/hull`, 0o755));
  enableControllers(sys, `${CGROUP_ROOT}/hull`);
  return readOnlyCrun(sys);
}

/**
 * A read-only mount of crun's program. A container can reach the program that starts it by /proc/self/exe
 * (CVE-2019-5736); crun therefore copies itself into memory at every start, unless it sees that its file system is
 * read-only. The mount saves that copy, a good part of crun's time.
 */
function readOnlyCrun(sys: Sys): string {
  sys.writeFile(CRUN_READ_ONLY, "", sys.O_WRONLY | sys.O_CREAT, 0o755);
  sys.mount(CRUN, CRUN_READ_ONLY, "", sys.MS_BIND, "");
  sys.mount("", CRUN_READ_ONLY, "", sys.MS_BIND | sys.MS_REMOUNT | sys.MS_RDONLY, "");
  return CRUN_READ_ONLY;
}
