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
import { dropTo, MOST_OF_A_USER, type ProcessUser } from "./process-user.ts";
import { lastLines, RingBuffer } from "./ring-buffer.ts";
import { scrubbedEnvironment } from "./run.ts";
import { WordWatch } from "./word-watch.ts";

/** A helper or VMM process to start. */
interface LaunchSpec {
  /** What it is, for messages and the ledger: `qemu`, `virtiofsd`. */
  readonly role: string;
  /** The program (an absolute path) and its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** `<namespace>/<pod>`: the mark by which a process whose pid was never recorded is found. */
  readonly pod: string;
  /** Path of the network namespace to start it in; the shim's own without one. */
  readonly netns?: string | undefined;
  /** Give it a network namespace of its own, with nothing in it. */
  readonly ownNetns?: boolean;
  /** Whom it runs as, without any capability; root, as the shim, without one. */
  readonly user?: ProcessUser | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /**
   * What the process inherits as descriptors 3, 4, ...: a descriptor of the caller, which keeps its own copy and closes
   * it, or one end of a new socket pair, whose other end is `HostProcess.channel`.
   */
  readonly fds?: readonly (number | "channel")[];
  /**
   * A descriptor of the caller that becomes stdin, in blocking mode: libuv takes O_NONBLOCK off the first three only,
   * and a program that is handed a listening socket may not know what to do about EAGAIN.
   */
  readonly stdin?: number;
  /** Gets stdout as it comes; without it stdout goes where stderr goes. */
  readonly onStdout?: (data: Buffer) => void;
  /** Words on stderr (see WordWatch) after which the process is of no use, though it may live on: it is killed, and they are the reason. */
  readonly fatal?: RegExp;
}

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** One sentence: `virtiofsd exited with status 1: fuse: bad option`. */
  readonly reason: string;
  /** The last 64 KiB of stderr. */
  readonly stderr: string;
  /** Whether `stop` was called before it ended. */
  readonly requested: boolean;
}

/** A started process. It dies with the shim (parent-death signal) and is in the ledger for as long as it lives. */
export interface HostProcess {
  readonly role: string;
  readonly pid: number;
  /** Resolves (never rejects) when the process is gone with all that it forked, and forgotten by the ledger. */
  readonly exited: Promise<ProcessExit>;
  /** The shim's end of the socket pair, where one was asked for. */
  readonly channel: Duplex | undefined;
  /** The last 64 KiB of stderr so far. */
  stderr(): string;
  /** Records what it has forked so far: that is ended with it then, whatever it makes of its parent and its mark. */
  recordForks(deadline: Deadline): Promise<void>;
  /**
   * Ends the process: `polite` (by default SIGTERM) first, SIGKILL half a second later or at half of the deadline: one
   * that is stopped or hangs takes no notice of anything else. Resolves when it is gone. Idempotent.
   */
  stop(deadline: Deadline, polite?: () => Promise<unknown>): Promise<void>;
}

/** How long a process may take to end politely. */
const POLITE_MS = 500;
/** How long the pipes of a dead process may stay open (a grandchild can hold them) before its exit is told. */
const DRAIN_MS = 200;
/** How long a process that is to end may be looked at for what it has forked. */
const FIND_MS = 500;
/** How long killing what a dead process has forked may take. */
const FORKS_MS = 2_000;

/**
 * Starts a process: parent-death signal and no_new_privs by setpriv(1), a limit of what a user can run by prlimit(1),
 * network namespace by nsenter(1) or unshare(1), all of which exec in place, so the pid is the program's own. Throws
 * FailedPrecondition when the program is missing.
 */
export async function launch(spec: LaunchSpec, ledger: Ledger): Promise<HostProcess> {
  const program = spec.argv[0];
  await access(program, constants.X_OK).catch((cause: unknown) => {
    throw new HullError(
      "FailedPrecondition",
      `${spec.role}: ${program} does not exist or is not executable; install it or set its path in the configuration`,
      { cause },
    );
  });
  if (spec.netns !== undefined) {
    await access(spec.netns).catch(() => {
      throw failedPrecondition(`${spec.role}: the network namespace ${spec.netns} does not exist (any more)`);
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

async function spawnChild(spec: LaunchSpec, program: string, directories: number[]): Promise<ChildProcess> {
  const privileges = spec.user ? dropTo(spec.user) : ["--no-new-privs"];
  const argv = ["setpriv", "--pdeathsig", "KILL", ...privileges, "--", program, ...spec.argv.slice(1)];
  // Nothing else bounds how much of the host's room for processes a pod's user can take where its cgroup does not.
  if (spec.user) {
    const most = Math.min(MOST_OF_A_USER, await limitOf("self", "processes"));
    argv.unshift("prlimit", `--nproc=${most}`, "--");
  }
  if (spec.netns !== undefined) argv.unshift("nsenter", `--net=${spec.netns}`, "--");
  else if (spec.ownNetns) argv.unshift("unshare", "--net", "--");
  const stdio: StdioOptions = [
    spec.stdin ?? "ignore",
    "pipe",
    "pipe",
    ...(spec.fds ?? []).map((fd) => (fd === "channel" ? "pipe" : fd)),
    ...directories,
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
  /** What it had forked when it was told to end. */
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
    // Synchronously after the spawn: the child cannot have been reaped yet.
    this.#startTime = startTimeOf(child.pid);
    const fatal = spec.fatal && new WordWatch(spec.fatal);
    child.stderr?.on("data", (data: Buffer) => {
      this.#ring.write(data);
      if (fatal?.comesWith(data)) child.kill("SIGKILL");
    });
    child.stdout?.on("data", spec.onStdout ?? ((data: Buffer) => this.#ring.write(data)));
    // libuv makes its "pipes" with socketpair(2): they go both ways.
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
      const patience = deadline.shorter(
        Math.min(POLITE_MS, deadline.remainingMs / 2),
        `${this.role}: waiting for its exit`,
      );
      patience.onEnd(() => this.child.kill("SIGKILL"));
      // A polite step that fails leaves nothing to wait for.
      if (polite) void polite().catch(() => this.child.kill("SIGTERM"));
      else this.child.kill("SIGTERM");
      await this.exited;
      patience.dispose();
    }
    await this.exited;
  }

  /**
   * Before it is told to end: afterwards nothing says whose children they were. Where that cannot be read (no descriptor
   * is free), or not at once, they are looked for by their mark: its end does not wait for it.
   */
  async #findForks(): Promise<readonly ProcessIdentity[] | undefined> {
    const what = `find the children of ${this.role}`;
    return await Deadline.within(FIND_MS, what, (limit) => descendantsOf(this.pid, limit)).catch(
      () => undefined,
    );
  }

  async #watch(): Promise<ProcessExit> {
    // Both listeners now: "close" may come in the same tick as "exit".
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
   * What it has forked ends with it, also when it is stopped (SIGSTOP) and so takes no signal but SIGKILL: virtiofsd does
   * its work in a child. False when something lives on; the record stays then.
   */
  async #killForks(): Promise<boolean> {
    const limit = Deadline.after(FORKS_MS, `kill the children of ${this.role}`);
    try {
      const found = this.#forks ?? (await limit.race(findByMark(this.#pod, this.role)));
      await killAll([...this.#recorded.map(({ fork }) => fork), ...found], limit);
      return true;
    } catch {
      return false; // the pod's clean-up tries again and tells it
    } finally {
      limit.dispose();
    }
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
    const words = lastLines(this.#ring.text(), 1);
    const said = words === "" ? "" : `: ${words}`;
    // nsenter found no setpriv, or setpriv no program.
    const tool = code === 127 ? missingIn(words) : undefined;
    const advice = tool === undefined ? "" : `; ${installAdvice(tool)}`;
    if (signal === null) return `${this.role} exited with status ${code}${said}${advice}`;
    if (signal === "SIGKILL" && !this.#requested && hostOomKills() > this.#oomKillsBefore) {
      return `${this.role} was killed by SIGKILL, and the kernel's OOM killer has been active since it started; raise the memory limit of the pod or of the host`;
    }
    return `${this.role} was killed by ${signal}${said}`;
  }
}

/**
 * Processes that the kernel has killed for want of memory since boot, by a cgroup's limit or the host's. NaN where that
 * cannot be read: it is only a guess at a cause.
 */
function hostOomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "latin1"))?.[1] ?? 0);
  } catch {
    return Number.NaN;
  }
}
