import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import type { Deadline } from "../core/deadline.ts";
import { HullError, internal } from "../core/errors.ts";
import { scrubbedEnvironment } from "./run.ts";

/**
 * An exclusive lock between processes. It is released by `release` or when this process exits or is killed.
 */
export interface FileLock {
  release(): Promise<void>;
  /** Lets this process exit while it has the lock. */
  unref(): void;
}

/** flock(1)'s exit status if another process has the lock. */
const TAKEN = 75;

/**
 * Locks a file by flock(1), since Node has no flock(2). Without `wait`, resolves to undefined if another
 * process has the lock. A child holds it, which exits when its stdin closes: at the latest with this process.
 */
export async function lockFile(
  path: string,
  options: { readonly wait: boolean },
  deadline: Deadline,
): Promise<FileLock | undefined> {
  deadline.check();
  const mode = options.wait ? [] : ["--nonblock"];
  const argv = ["--exclusive", "--no-fork", `--conflict-exit-code=${TAKEN}`, ...mode, path];
  const holder = spawn("flock", [...argv, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "ignore"],
    env: scrubbedEnvironment(),
  });
  holder.stdin.on("error", () => undefined); // it is only ever closed
  const exited = new Promise<number | null>((resolve, reject) => {
    holder.once("error", (error) => reject(HullError.wrap("flock", error, "Internal")));
    holder.once("exit", resolve);
  });
  exited.catch(() => undefined); // read below
  const release = async () => {
    holder.stdin.destroy();
    holder.kill("SIGKILL");
    await exited;
  };
  const locked = new Promise<true>((resolve) => holder.stdout.once("data", () => resolve(true)));
  try {
    const outcome = await deadline.race(Promise.race([locked, exited]));
    if (outcome === true) return { release, unref: () => unref(holder) };
    if (outcome === TAKEN) return undefined;
    throw internal(`lock ${path}: flock exited with status ${outcome}`);
  } catch (thrown) {
    await release().catch(() => undefined); // the first failure is the one to report
    throw HullError.wrap(`lock ${path}`, thrown);
  }
}

function unref(child: ChildProcessByStdio<Writable, Readable, null>): void {
  child.unref();
  for (const pipe of [child.stdin, child.stdout]) (pipe as Writable | Readable as Socket).unref();
}
