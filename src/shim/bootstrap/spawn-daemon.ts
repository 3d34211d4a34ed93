import { failedPrecondition, HullError, unavailable } from "../../core/errors.ts";
import { awaitEnd, type ChildResult, runChild } from "./child.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, type Sys } from "./sys.ts";

/**
 * The daemon's descriptors: its listening socket; how containerd sees the host's files; a pipe that has a byte once
 * containerd knows of the daemon, or ends with the launcher; a pipe to tell the launcher that it serves.
 */
export const INHERITED = { listener: 3, mountNamespace: 4, root: 5, launcher: 6, ready: 7 } as const;

const S_IFMT = 0o170000;
const S_IFIFO = 0o010000;
/** How long a process whose descriptors are closed may take until it can be waited for. */
const ENDING_MS = 1_000;

/** Where hull is installed: `lib/node` and `lib/shim.cjs` beside the launcher's own `bin`. */
export class Installation {
  readonly node: string;
  readonly shim: string;

  constructor(readonly prefix: string) {
    this.node = `${prefix}/lib/node`;
    this.shim = `${prefix}/lib/shim.cjs`;
  }

  /** Found from the launcher's own executable, so that a build directory and an installation both work in place. */
  static ofThisProcess(sys: Sys): Installation {
    return new Installation(sys.readlink("/proc/self/exe").split("/").slice(0, -2).join("/"));
  }

  /** Throws FailedPrecondition when a part is missing: a daemon that fails later could tell nobody. */
  check(sys: Sys): void {
    for (const path of [this.node, this.shim]) {
      if (ifExists(() => sys.stat(path)) === undefined) {
        throw failedPrecondition(
          `${path} does not exist: hull is not completely installed; run hack/install again`,
        );
      }
    }
  }

  /** The command line of the daemon binary. */
  command(action: "daemon" | "cleanup" | "protocol", paths: PodPaths): string[] {
    const flags = ["--no-warnings", "--v8-pool-size=0"];
    return [this.node, ...flags, this.shim, action, "-namespace", paths.namespace, "-id", paths.pod];
  }
}

/**
 * The environment of what the launcher starts. containerd's own is not passed on: NODE_OPTIONS would run anything,
 * NODE_EXTRA_CA_CERTS costs 70 ms, and credentials in it are not ours.
 */
function childEnvironment(sys: Sys): string[] {
  const kept = ["PATH", "HULL_CONFIG"].flatMap((name) => {
    const value = sys.getenv(name);
    return value === undefined ? [] : [`${name}=${value}`];
  });
  // One malloc arena: less memory, and the daemon's threads do not compete for it.
  return [...kept, "MALLOC_ARENA_MAX=1"];
}

/** A daemon that was started. */
interface StartedDaemon {
  readonly pid: number;
  /** The read end of the pipe into which it writes a byte when it serves. */
  readonly ready: number;
}

/**
 * What is dumped of a process by default (core(5)) but for shared memory without a file's name, the guest's: a guest may crash
 * who maps it again and again, until the host's disk is full.
 */
const DUMPED = "0x31";

/** Holds for this process and all that it starts from here on. */
function leaveGuestOutOfCoreDumps(sys: Sys): void {
  // A kernel without core dumps has no such file.
  ifExists(() => sys.writeFile("/proc/self/coredump_filter", DUMPED, sys.O_WRONLY));
}

/**
 * Starts the daemon in a session of its own: the bundle's `log` FIFO is its standard error, and it has what is in
 * `INHERITED`.
 */
export function spawnDaemon(
  sys: Sys,
  installation: Installation,
  paths: PodPaths,
  bundle: string,
  given: { readonly [name in Exclude<keyof typeof INHERITED, "ready">]: number },
): StartedDaemon {
  leaveGuestOutOfCoreDumps(sys);
  const log = openLog(sys, bundle);
  let pipe: readonly number[] = [];
  try {
    pipe = sys.pipe();
    const [ready = -1, tell = -1] = pipe;
    const pid = sys.spawn({
      argv: installation.command("daemon", paths),
      env: childEnvironment(sys),
      cwd: bundle,
      fds: [-1, -1, log, given.listener, given.mountNamespace, given.root, given.launcher, tell],
      setsid: true,
    });
    sys.close(tell);
    return { pid, ready };
  } catch (error) {
    for (const fd of pipe) sys.close(fd);
    throw HullError.wrap(`start ${installation.node}`, error);
  } finally {
    if (log >= 0) sys.close(log);
  }
}

/**
 * Waits until the daemon serves, at most `limitMs`. containerd's first call would wait for that, too, but without a limit: a
 * Node that gets no thread hangs before its first line of JavaScript, and nobody but us looks after it yet. Throws
 * Unavailable when it ends or hangs.
 */
export function awaitServing(sys: Sys, { pid, ready }: StartedDaemon, limitMs: number): void {
  let told = -1;
  const timer = sys.setTimer(limitMs, () => sys.stop());
  sys.watch(ready, { read: true }, () => {
    told = sys.read(ready, new Uint8Array(1), 0, 1);
    sys.stop();
  });
  sys.run();
  sys.clearTimer(timer);
  sys.unwatch(ready);
  if (told === 1) return;
  const limits = "check containerd's log, and the limits of processes and open files of containerd's unit";
  if (told < 0)
    throw unavailable(`the daemon (process ${pid}) is not serving after ${limitMs} ms; ${limits}`);
  awaitEnd(sys, pid, ENDING_MS); // its pipe is closed a little before that
  const ended = sys.waitpid(pid);
  const how = ended?.signal ? `by signal ${ended.signal}` : `with status ${ended?.code ?? "unknown"}`;
  throw unavailable(`the daemon exited ${how} before it was serving; ${limits}`);
}

/**
 * Makes the kernel kill the shim a little earlier than containerd when memory is short, as containerd's own shims
 * do: containerd's score plus one.
 */
export function adjustOomScore(sys: Sys, pid: number): void {
  const decode = (path: string) => Number(new TextDecoder().decode(sys.readFile(path)).trim());
  const score = Math.min(1000, decode(`/proc/${sys.getppid()}/oom_score_adj`) + 1);
  // Equal needs no write, and a lower one would need CAP_SYS_RESOURCE, which containers of CI often lack.
  if (score > decode(`/proc/${pid}/oom_score_adj`))
    sys.writeFile(`/proc/${pid}/oom_score_adj`, String(score), sys.O_WRONLY);
}

/**
 * Releases all that a dead daemon left of its pod, `limitMs` at most. Throws when that fails. Its
 * stderr has warnings.
 */
export function cleanUp(sys: Sys, installation: Installation, paths: PodPaths, limitMs: number): ChildResult {
  return runDaemonBinary(sys, installation, "cleanup", paths, limitMs);
}

/** Runs a short action of the daemon binary and returns its end with what it printed. Throws when it fails. */
export function runDaemonBinary(
  sys: Sys,
  installation: Installation,
  action: "cleanup" | "protocol",
  paths: PodPaths,
  limitMs: number,
): ChildResult {
  const what = `${action} of ${paths.directory}`;
  installation.check(sys);
  let result: ChildResult;
  try {
    result = runChild(sys, installation.command(action, paths), childEnvironment(sys), limitMs);
  } catch (error) {
    throw HullError.wrap(`start the ${what}`, error);
  }
  if (result.timedOut) throw failedPrecondition(`${what}: timed out after ${limitMs} ms`);
  if (result.code !== 0 || result.signal !== 0) {
    const how = result.signal !== 0 ? `signal ${result.signal}` : `status ${result.code}`;
    const said = result.stderr.trim().split("\n").slice(-3).join(" | ");
    throw failedPrecondition(`${what} exited with ${how}: ${said || "no output"}`);
  }
  return result;
}

/**
 * containerd's log FIFO, -1 when the bundle has none (CRI-O). Opened for both directions: that never blocks, and
 * a containerd that is away costs neither SIGPIPE nor EPIPE.
 */
function openLog(sys: Sys, bundle: string): number {
  const path = `${bundle}/log`;
  const stat = ifExists(() => sys.lstat(path));
  if (stat === undefined || (stat.mode & S_IFMT) !== S_IFIFO) return -1;
  return sys.open(path, sys.O_RDWR | sys.O_NONBLOCK);
}
