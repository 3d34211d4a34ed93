import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { sha256 } from "./run.ts";

/** The cache of what is slow to fetch or to compile. It may be removed at any time. */
export const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "hull");

/** Runs `work` while holding the lock file, which only one process at a time can. */
export function locked<T>(file: string, work: () => T): T {
  const lock = openSync(file, "w");
  try {
    // flock(2) locks the open file description, so the lock outlives flock(1) and ends when the descriptor is closed here.
    execFileSync("flock", ["3"], { stdio: ["ignore", "ignore", "inherit", lock] });
    return work();
  } finally {
    closeSync(lock);
  }
}

/** Returns the cache key for these inputs, in this order. */
export function keyOf(...parts: readonly string[]): string {
  return sha256(parts.join("\0")).slice(0, 32);
}

/** Returns where the cached directory `kind`/`key` is, whether it exists or not. */
export function cachePath(kind: string, key: string): string {
  return join(CACHE, kind, key);
}

/**
 * Returns the cached directory `kind`/`key`, created by `build` if it is missing. `build` gets a scratch directory and, in it,
 * an empty directory that becomes the cached one if `build` succeeds.
 */
export function buildOnce(kind: string, key: string, build: (work: string, result: string) => void): string {
  const directory = join(CACHE, kind);
  const cached = cachePath(kind, key);
  if (existsSync(cached)) return cached;
  mkdirSync(directory, { recursive: true });
  return locked(join(directory, "lock"), () => {
    if (existsSync(cached)) return cached; // by the previous holder of the lock
    const work = mkdtempSync(join(directory, "work-"));
    try {
      const result = join(work, "result");
      mkdirSync(result);
      build(work, result);
      renameSync(result, cached);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    return cached;
  });
}
