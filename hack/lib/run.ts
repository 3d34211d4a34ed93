import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";

/** The repository's root. */
export const ROOT = dirname(dirname(import.meta.dirname));

/** The C compiler: $CC, by default `cc`. */
export const CC = process.env.CC ?? "cc";

/** Runs a command in the repository's root and returns its stdout; its stderr is passed on. Throws if it fails. */
export function run(
  command: string,
  args: readonly string[],
  options: Partial<ExecFileSyncOptionsWithStringEncoding> = {},
): string {
  const stdio = ["ignore", "pipe", "inherit"] as const;
  try {
    return execFileSync(command, args, { cwd: ROOT, encoding: "utf8", stdio: [...stdio], ...options });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new Error(`${command} is missing: run hack/setup`, { cause: error });
  }
}

/** Returns the compiler's name and version, which are part of every cache key of compiled code. */
export function compilerVersion(): string {
  return run(CC, ["--version"]);
}

/** Returns the SHA-256 of bytes or text, in hex. */
export function sha256(bytes: string | NodeJS.ArrayBufferView): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Returns the entries of a list file: one per line; `#` starts a comment. */
export function readList(path: string): string[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter((line) => line !== "");
}
