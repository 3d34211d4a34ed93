import { allowing, type Sys } from "../sys.ts";
import { CGROUP_ROOT, enableControllers } from "./mounts.ts";

const CRUN = "/usr/bin/crun";
const BIN = "/run/hull/bin";
const MAX_CRUN_BYTES = 16 << 20;

/**
 * The kernel's maximum, so that PIDs do not wrap during the life of a VM and no exit is attributed to another
 * process.
 */
const PID_MAX = "4194304";

/**
 * RLIMIT_NOFILE, enough for thousands of processes: one with three streams takes a dozen. The kernel gives
 * PID 1 1024.
 */
const DESCRIPTORS = 65_536;

/** Creates the agent's directories and cgroups and raises its limits. Returns the path of the crun to use. */
export function prepareGuest(sys: Sys): string {
  for (const directory of ["/run/hull/containers", "/run/hull/console", BIN, "/run/crun"]) {
    sys.mkdirp(directory, 0o700);
  }
  sys.writeFile("/proc/sys/kernel/pid_max", PID_MAX, sys.O_WRONLY);
  sys.raiseFileLimit(DESCRIPTORS);
  enableControllers(sys, CGROUP_ROOT);
  allowing(["EEXIST"], () => sys.mkdir(`${CGROUP_ROOT}/hull`, 0o755));
  enableControllers(sys, `${CGROUP_ROOT}/hull`);
  return readOnlyCrun(sys);
}

/**
 * Moves crun to a read-only ramfs. A container can reach the program that starts it through /proc/self/exe
 * (CVE-2019-5736), so crun re-executes itself from a copy unless it finds its file system read-only; under
 * emulation the copy takes half of crun's time. On tmpfs, which the initramfs may be, crun does not check
 * that: files there can be sealed.
 */
function readOnlyCrun(sys: Sys): string {
  const { MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_RDONLY } = sys;
  sys.mount("bin", BIN, "ramfs", MS_NOSUID | MS_NODEV, "mode=0755");
  sys.writeFile(`${BIN}/crun`, sys.readFile(CRUN, MAX_CRUN_BYTES), sys.O_WRONLY | sys.O_CREAT, 0o755);
  sys.mount("", BIN, "", MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, "");
  sys.unlink(CRUN);
  return `${BIN}/crun`;
}
