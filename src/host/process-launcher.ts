import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { constants, readFileSync } from "node:fs";
import { access } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, internal } from "../core/errors.ts";
import type { Ledger, LedgerEntry } from "../core/ledger.ts";
import { killAll } from "./kill.ts";
import { installAdvice, MissingToolError, missingIn } from "./missing-tool.ts";
import { PathAccess } from "./path-access.ts";
import {
  descendantsOf,
  findByMark,
  limitOf,
  POD_MARK,
  type ProcessIdentity,
  ROLE_MARK,
  startTimeOf,
} from "./proc.ts";
import { dropPrivileges, MAX_USER_PROCESSES, type ProcessUser } from "./process-user.ts";
import { lastLines, RingBuffer } from "./ring-buffer.ts";
import { scrubbedEnvironment } from "./run.ts";
import { StreamMatcher } from "./stream-matcher.ts";

/** A helper or VMM process to start. */
interface LaunchSpec {
  /** Its name in messages and in the ledger: `qemu`, `virtiofsd`. */
  readonly role: string;
  /** The program (an absolute path) and its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** `<namespace>/<pod>`: the mark by which a process is found whose PID was never recorded. */
  readonly pod: string;
  /** Path of the network namespace to start it in; by default the shim's. */
  readonly netns?: string | undefined;
  /** Start it in a new, empty network namespace. */
  readonly ownNetns?: boolean;
  /** The user to run it as, without capabilities; by default root, like the shim. */
  readonly user?: ProcessUser | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /**
   * The process's descriptors 3, 4, ...: descriptors of the caller, which still has to close its own, or one
   * end of a new socket pair, whose other end is `HostProcess.channel`.
   */
  readonly fds?: readonly (number | "channel")[];
  /**
   * A descriptor of the caller to become stdin, in blocking mode: libuv clears O_NONBLOCK only on the first
   * three, and a program that inherits a listening socket may not handle EAGAIN.
   */
  readonly stdin?: number;
  /** Receives stdout; by default it is kept with stderr. */
  readonly onStdout?: (data: Buffer) => void;
  /**
   * Output on stderr that means the process is useless though it may keep running: it is killed (see
   * StreamMatcher).
   */
  readonly fatal?: RegExp;
}

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** For messages: `virtiofsd exited with status 1: fuse: bad option`. */
  readonly reason: string;
  /** The last 64 KiB of stderr. */
  readonly stderr: string;
  /** Whether `stop` was called before it exited. */
  readonly requested: boolean;
}

/** A started process. It dies with the shim (parent-death signal), and is in the ledger while it runs. */
export interface HostProcess {
  readonly role: string;
  readonly pid: number;
  /** Resolves (never rejects) when the process and its forks are gone and removed from the ledger. */
  readonly exited: Promise<ProcessExit>;
  /** The shim's end of the socket pair, if `fds` asked for one. */
  readonly channel: Duplex | undefined;
  /** Returns the last 64 KiB of stderr so far. */
  stderr(): string;
  /**
   * Records its current forks, so that they are killed with it even if they lose their parent and their mark.
   */
  recordForks(deadline: Deadline): Promise<void>;
  /**
   * Stops the process: `polite` (by default SIGTERM) first, then SIGKILL after 0.5 s or half of the deadline,
   * since a stopped or hung process ignores anything else. Resolves when it is gone. Idempotent.
   */
  stop(deadline: Deadline, polite?: () => Promise<unknown>): Promise<void>;
}

/** Time for a process to exit before SIGKILL. */
const POLITE_MS = 500;
/** Time to read a dead process's pipes, which a grandchild may hold open, before its exit is reported. */
const DRAIN_MS = 200;
/** Timeout for finding a process's forks before it is stopped. */
const FIND_MS = 500;
/** Timeout for killing a dead process's forks. */
const FORKS_MS = 2_000;

/**
 * Starts a process by setpriv(1) (parent-death signal, no_new_privs), prlimit(1), and nsenter(1) or
 * unshare(1), which all exec: the PID is the program's. Throws FailedPrecondition if the program is missing.
 */
export async function launch(spec: LaunchSpec, ledger: Ledger): Promise<HostProcess> {
  const program = spec.argv[0];
  await access(program, constants.X_OK).catch((cause: unknown) => {
    throw new HullError(
      "FailedPrecondition",
      `${spec.role}: ${program} does not exist or is not executable; ` +
        "install it or set its path in the configuration",
      { cause },
    );
  });
  if (spec.netns !== undefined) {
    await access(spec.netns).catch(() => {
      throw failedPrecondition(`${spec.role}: the network namespace ${spec.netns} does not exist`);
    });
  }
  const pathAccess = new PathAccess(spec.user, 3 + (spec.fds ?? []).length);
  const entry = await ledger.record({ kind: "process", role: spec.role });
  let started: ChildHandle;
  try {
    const path = await pathAccess.addFile(program, "execute");
    started = new ChildHandle(spec, await spawnChild(spec, path, pathAccess.fds), entry, ledger);
  } catch (thrown) {
    await entry.forget();
    throw thrown;
  } finally {
    await pathAccess.close();
  }
  try {
    await started.record();
  } catch (thrown) {
    started.child.kill("SIGKILL");
    await started.exited;
    throw thrown;
  }
  return started;
}

async function spawnChild(spec: LaunchSpec, program: string, pathFds: number[]): Promise<ChildProcess> {
  const privileges = spec.user ? dropPrivileges(spec.user) : ["--no-new-privs"];
  const argv = ["setpriv", "--pdeathsig", "KILL", ...privileges, "--", program, ...spec.argv.slice(1)];
  // Without a cgroup limit, nothing else bounds how many of the host's PIDs a pod's user can take.
  if (spec.user) {
    const most = Math.min(MAX_USER_PROCESSES, await limitOf("self", "processes"));
    argv.unshift("prlimit", `--nproc=${most}`, "--");
  }
  if (spec.netns !== undefined) argv.unshift("nsenter", `--net=${spec.netns}`, "--");
  else if (spec.ownNetns) argv.unshift("unshare", "--net", "--");
  const stdio: StdioOptions = [
    spec.stdin ?? "ignore",
    "pipe",
    "pipe",
    ...(spec.fds ?? []).map((fd) => (fd === "channel" ? "pipe" : fd)),
    ...pathFds,
  ];
  const env = scrubbedEnvironment({ ...spec.env, [POD_MARK]: spec.pod, [ROLE_MARK]: spec.role });
  const child = spawn(argv[0] as string, argv.slice(1), { stdio, env });
  if (child.pid === undefined) {
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => child.once("error", resolve));
    const step = `${spec.role}: cannot start ${argv[0]}`;
    if (error.code !== "ENOENT") throw HullError.wrap(step, error, "Internal");
    throw HullError.wrap(step, new MissingToolError(argv[0] as string, env.PATH ?? "", error));
  }
  return child;
}

class ChildHandle implements HostProcess {
  readonly role: string;
  readonly pid: number;
  readonly channel: Duplex | undefined;
  readonly exited: Promise<ProcessExit>;
  readonly #ring = new RingBuffer();
  readonly #oomKillsBefore = hostOomKills();
  readonly #pod: string;
  /** Its forks when `stop` was called. */
  #forks: readonly ProcessIdentity[] | undefined;
  readonly #recorded: { readonly fork: ProcessIdentity; readonly entry: LedgerEntry }[] = [];
  #requested = false;
  #ended = false;

  constructor(
    spec: LaunchSpec,
    readonly child: ChildProcess,
    readonly entry: LedgerEntry,
    readonly ledger: Ledger,
  ) {
    this.role = spec.role;
    this.#pod = spec.pod;
    if (child.pid === undefined) throw internal(`${spec.role}: started without a pid`);
    this.pid = child.pid;
    // Synchronous after the spawn, so the child cannot have been reaped yet.
    this.#startTime = startTimeOf(child.pid);
    const fatal = spec.fatal && new StreamMatcher(spec.fatal);
    child.stderr?.on("data", (data: Buffer) => {
      this.#ring.write(data);
      if (fatal?.matches(data)) child.kill("SIGKILL");
    });
    child.stdout?.on("data", spec.onStdout ?? ((data: Buffer) => this.#ring.write(data)));
    // libuv creates its "pipes" with socketpair(2), so they are bidirectional.
    const channel = (spec.fds ?? []).indexOf("channel");
    this.channel = channel < 0 ? undefined : (child.stdio[channel + 3] as Duplex);
    this.exited = this.#watch();
  }

  readonly #startTime: string | undefined;

  async record(): Promise<void> {
    if (this.#ended || this.#startTime === undefined) return;
    await this.entry.update({ kind: "process", role: this.role, pid: this.pid, startTime: this.#startTime });
  }

  async recordForks(deadline: Deadline): Promise<void> {
    for (const fork of await descendantsOf(this.pid, deadline)) {
      if (this.#ended) return;
      const entry = await this.ledger.record({ kind: "process", role: this.role, ...fork });
      this.#recorded.push({ fork, entry });
    }
  }

  stderr(): string {
    return this.#ring.text();
  }

  async stop(deadline: Deadline, polite?: () => Promise<unknown>): Promise<void> {
    const forks = this.#ended ? [] : await this.#findForks();
    if (!this.#ended) {
      this.#requested = true;
      this.#forks = forks;
      const limit = deadline.shorter(
        Math.min(POLITE_MS, deadline.remainingMs / 2),
        `${this.role}: waiting for its exit`,
      );
      limit.onEnd(() => this.child.kill("SIGKILL"));
      // If the polite step fails, there is nothing to wait for.
      if (polite) void polite().catch(() => this.child.kill("SIGTERM"));
      else this.child.kill("SIGTERM");
      await this.exited;
      limit.dispose();
    }
    await this.exited;
  }

  /**
   * Must run before the process exits, when its children lose their parent. If /proc cannot be read in time
   * (no free descriptors), they are found by mark later, so that `stop` does not wait.
   */
  async #findForks(): Promise<readonly ProcessIdentity[] | undefined> {
    const what = `find the children of ${this.role}`;
    return await Deadline.within(FIND_MS, what, (limit) => descendantsOf(this.pid, limit)).catch(
      () => undefined,
    );
  }

  async #watch(): Promise<ProcessExit> {
    // Both listeners at once: "close" may come in the same tick as "exit".
    const closed = new Promise<void>((resolve) => {
      this.child.once("close", () => resolve());
    });
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.child.once("exit", (...ending) => resolve(ending));
    });
    this.#ended = true;
    const alone = await this.#killForks();
    await this.#drained(closed);
    if (alone) for (const { entry } of [this, ...this.#recorded]) await entry.forget();
    return {
      code,
      signal,
      reason: this.#reason(code, signal),
      stderr: this.#ring.text(),
      requested: this.#requested,
    };
  }

  /**
   * Kills its forks, even if they are stopped (SIGSTOP): virtiofsd works in a child. False if one survives;
   * then the record must stay.
   */
  async #killForks(): Promise<boolean> {
    const killed = Deadline.within(FORKS_MS, `kill the children of ${this.role}`, async (limit) => {
      const found = this.#forks ?? (await limit.race(findByMark(this.#pod, this.role)));
      await killAll([...this.#recorded.map(({ fork }) => fork), ...found], limit);
      return true;
    });
    return await killed.catch(() => false); // the pod's teardown tries again and reports it
  }

  async #drained(closed: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.child.stderr?.destroy();
        this.child.stdout?.destroy();
        this.channel?.destroy();
        resolve();
      }, DRAIN_MS);
    });
    await Promise.race([closed, late]);
    clearTimeout(timer);
  }

  #reason(code: number | null, signal: NodeJS.Signals | null): string {
    const lastLine = lastLines(this.#ring.text(), 1);
    const output = lastLine === "" ? "" : `: ${lastLine}`;
    // nsenter has not found setpriv, or setpriv the program.
    const tool = code === 127 ? missingIn(lastLine) : undefined;
    const advice = tool === undefined ? "" : `; ${installAdvice(tool)}`;
    if (signal === null) return `${this.role} exited with status ${code}${output}${advice}`;
    if (signal === "SIGKILL" && !this.#requested && hostOomKills() > this.#oomKillsBefore) {
      return (
        `${this.role} was killed by SIGKILL, and the kernel's OOM killer has been active since it started; ` +
        "raise the memory limit of the pod or of the host"
      );
    }
    return `${this.role} was killed by ${signal}${output}`;
  }
}

/**
 * The number of processes that the kernel's OOM killer has killed since boot, for a cgroup or the host. NaN
 * if it cannot be read: it only helps to guess a cause.
 */
function hostOomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "latin1"))?.[1] ?? 0);
  } catch {
    return Number.NaN;
  }
}
