import { HullError, unavailable } from "../../core/errors.ts";
import { awaitExit } from "./child.ts";
import type { DaemonBinary } from "./daemon-binary.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, S_IFIFO, S_IFMT, type Sys } from "./sys.ts";

/**
 * The daemon's descriptors: the listening socket; containerd's mount namespace and root; a pipe from which it reads a
 * byte once containerd has the address, or end of file if the launcher exits before; a pipe on which it reports that
 * it serves.
 */
export const INHERITED = { listener: 3, mountNamespace: 4, root: 5, launcher: 6, ready: 7 } as const;

/** How long a process may take from closing its descriptors to its exit. */
const EXIT_TIMEOUT_MS = 1_000;

/** A daemon that was started and may not serve yet. */
interface StartedDaemon {
  readonly pid: number;
  /** The read end of the pipe to which it writes a byte when it serves. */
  readonly ready: number;
}

/**
 * The default of core(5) without anonymous shared memory, which is the guest's: a guest that crashes its VMM or
 * backend repeatedly would fill the host's disk.
 */
const COREDUMP_FILTER = "0x31";

/** Applies to this process and its future children. */
function excludeGuestFromCoreDumps(sys: Sys): void {
  // A kernel without core dumps does not have the file.
  ifExists(() => sys.writeFile("/proc/self/coredump_filter", COREDUMP_FILTER, sys.O_WRONLY));
}

/** Starts the daemon in its own session, with the bundle's `log` FIFO as stderr and the descriptors of `INHERITED`. */
export function spawnDaemon(
  binary: DaemonBinary,
  paths: PodPaths,
  bundle: string,
  given: { readonly [name in Exclude<keyof typeof INHERITED, "ready">]: number },
): StartedDaemon {
  const { sys } = binary;
  excludeGuestFromCoreDumps(sys);
  const log = openLog(sys, bundle);
  let pipe: readonly number[] = [];
  try {
    pipe = sys.pipe();
    const [ready = -1, report = -1] = pipe;
    const pid = sys.spawn({
      argv: binary.command("daemon", paths),
      env: binary.environment(),
      cwd: bundle,
      fds: [-1, -1, log, given.listener, given.mountNamespace, given.root, given.launcher, report],
      setsid: true,
    });
    sys.close(report);
    return { pid, ready };
  } catch (error) {
    for (const fd of pipe) sys.close(fd);
    throw HullError.wrap(`start ${binary.node}`, error);
  } finally {
    if (log >= 0) sys.close(log);
  }
}

/**
 * Waits until the daemon serves, at most `timeoutMs`. containerd's first call would wait without a timeout for a Node
 * that hangs before its first line of JavaScript, as it does if it cannot create a thread. Throws Unavailable if the
 * daemon exits or hangs.
 */
export function awaitServing(sys: Sys, { pid, ready }: StartedDaemon, timeoutMs: number): void {
  let length = -1;
  const timer = sys.setTimer(timeoutMs, () => sys.stop());
  sys.watch(ready, { read: true }, () => {
    length = sys.read(ready, new Uint8Array(1), 0, 1);
    sys.stop();
  });
  sys.run();
  sys.clearTimer(timer);
  sys.unwatch(ready);
  if (length === 1) return;
  const limits = "check containerd's log, and the limits of processes and open files of containerd's unit";
  if (length < 0)
    throw unavailable(`the daemon (process ${pid}) is not serving after ${timeoutMs} ms; ${limits}`);
  awaitExit(sys, pid, EXIT_TIMEOUT_MS); // the pipe is closed shortly before
  const ended = sys.waitpid(pid);
  const how = ended?.signal ? `by signal ${ended.signal}` : `with status ${ended?.code ?? "unknown"}`;
  throw unavailable(`the daemon exited ${how} before it was serving; ${limits}`);
}

/** Sets the daemon's OOM score to containerd's plus one, as containerd's own shims do. */
export function adjustOomScore(sys: Sys, pid: number): void {
  const decode = (path: string) => Number(new TextDecoder().decode(sys.readFile(path)).trim());
  const score = Math.min(1000, decode(`/proc/${sys.getppid()}/oom_score_adj`) + 1);
  // Lowering it would need CAP_SYS_RESOURCE, which CI containers often lack.
  if (score > decode(`/proc/${pid}/oom_score_adj`))
    sys.writeFile(`/proc/${pid}/oom_score_adj`, String(score), sys.O_WRONLY);
}

/**
 * Opens the bundle's log FIFO; -1 if there is none (CRI-O). Opened for reading, too: that never blocks, and writes do
 * not fail with EPIPE while containerd is down.
 */
function openLog(sys: Sys, bundle: string): number {
  const path = `${bundle}/log`;
  const stat = ifExists(() => sys.lstat(path));
  if (stat === undefined || (stat.mode & S_IFMT) !== S_IFIFO) return -1;
  return sys.open(path, sys.O_RDWR | sys.O_NONBLOCK);
}
