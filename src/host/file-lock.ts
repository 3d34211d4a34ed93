import { spawn } from "node:child_process";
import type { Deadline } from "../core/deadline.ts";
import { HullError, internal } from "../core/errors.ts";
import { scrubbedEnvironment } from "./run.ts";

/** An exclusive lock between processes. It ends with `release` or with this process, however that ends. */
export interface FileLock {
  release(): Promise<void>;
}

/** The status with which flock(1) says that somebody else has the lock. */
const TAKEN = 75;

/**
 * Takes the lock of a file (flock(2), by flock(1) since Node has no call for it). `wait` false: undefined when somebody
 * else has it. The holder is a child that ends with its stdin, which the kernel closes when this process is gone.
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
    if (outcome === true) return { release };
    if (outcome === TAKEN) return undefined;
    throw internal(`lock ${path}: flock exited with status ${outcome}`);
  } catch (thrown) {
    await release().catch(() => undefined); // the first failure is the one to tell
    throw HullError.wrap(`lock ${path}`, thrown);
  }
}
