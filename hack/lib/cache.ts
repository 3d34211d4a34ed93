import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { sha256 } from "./run.ts";

/** What is slow to fetch or to compile is kept here; it may be removed at any time. */
export const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "hull");

/** Does something while no other process does anything under the same lock file. */
export function locked<T>(file: string, work: () => T): T {
  const lock = openSync(file, "w");
  try {
    // flock(2) locks what the descriptor stands for: it stays locked after flock(1) has ended, until it is closed here.
    execFileSync("flock", ["3"], { stdio: ["ignore", "ignore", "inherit", lock] });
    return work();
  } finally {
    closeSync(lock);
  }
}

/** The key of something that is made of these parts, in this order. */
export function keyOf(...parts: readonly string[]): string {
  return sha256(parts.join("\0")).slice(0, 32);
}

/**
 * The cached directory `kind`/`key`; makes it where it is missing. `make` is given a scratch directory and, in it, the empty
 * directory that becomes the cached one if `make` succeeds.
 */
export function madeOnce(kind: string, key: string, make: (work: string, result: string) => void): string {
  const folder = join(CACHE, kind);
  const made = join(folder, key);
  if (existsSync(made)) return made;
  mkdirSync(folder, { recursive: true });
  return locked(join(folder, "lock"), () => {
    if (existsSync(made)) return made; // by a process that had the lock before
    const work = mkdtempSync(join(folder, "work-"));
    try {
      const result = join(work, "result");
      mkdirSync(result);
      make(work, result);
      renameSync(result, made);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    return made;
  });
}
