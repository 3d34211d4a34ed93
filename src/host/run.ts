import { execFile } from "node:child_process";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { MissingToolError, missingIn } from "./missing-tool.ts";
import { lastLines } from "./ring-buffer.ts";

interface RunOptions {
  readonly cwd?: string;
  /** Added to the scrubbed environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Returns the environment for system tools and helpers: `extra`, and of the shim's own only the PATH. */
export function scrubbedEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const path = process.env.PATH ?? "";
  const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return { PATH: path === "" ? system : `${path}:${system}`, LC_ALL: "C", ...extra };
}

/** How a program ended. */
interface Ended {
  /** Undefined if it exited with status 0. */
  readonly error: (Error & { code?: unknown }) | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to completion, with `input` on its stdin. At the deadline, kills it and rejects with the
 * deadline's reason, without waiting for the program's children.
 */
export async function execute(
  [program, ...args]: readonly [string, ...string[]],
  options: { readonly env: Readonly<Record<string, string>>; readonly cwd?: string; readonly input?: string },
  deadline: Deadline,
): Promise<Ended> {
  deadline.check();
  const { input = "", ...surroundings } = options;
  return await new Promise<Ended>((resolve, reject) => {
    let detach = () => undefined as unknown;
    const child = execFile(
      program,
      args,
      { ...surroundings, maxBuffer: 4 * 1024 * 1024, encoding: "utf8" },
      (error, stdout, stderr) => {
        detach();
        if (error && deadline.reason) reject(deadline.reason);
        else resolve({ error: error ?? undefined, stdout, stderr });
      },
    );
    child.stdin?.on("error", () => undefined); // it may exit without reading its input
    child.stdin?.end(input);
    detach = deadline.onEnd(() => {
      child.kill("SIGKILL");
      // Its children may hold these open indefinitely.
      child.stdout?.destroy();
      child.stderr?.destroy();
    });
  });
}

/**
 * Runs a system tool and returns its stdout (at most 4 MiB); kills it at the deadline. Throws
 * MissingToolError, or ToolError with the last lines of its stderr if it fails.
 */
export async function run(
  argv: readonly [string, ...string[]],
  deadline: Deadline,
  { cwd, env: added }: RunOptions = {},
): Promise<string> {
  const [tool] = argv;
  const env = scrubbedEnvironment(added);
  const options = { env, ...(cwd !== undefined && { cwd }) };
  const { error, stdout, stderr } = await execute(argv, options, deadline).catch((reason) => {
    throw HullError.wrap(tool, reason);
  });
  if (!error) return stdout;
  if (error.code === "ENOENT" && cwd === undefined) throw new MissingToolError(tool, env.PATH ?? "", error);
  throw toolFailure(argv, env.PATH ?? "", stderr, error);
}

function toolFailure(
  argv: readonly [string, ...string[]],
  path: string,
  stderr: string,
  error: Error & { code?: unknown },
): HullError {
  if (typeof error.code === "string") return HullError.wrap(`start ${argv[0]}`, error);
  const missing = error.code === 127 ? missingIn(stderr) : undefined;
  if (missing !== undefined) return new MissingToolError(missing, path, error);
  return new ToolError(argv, typeof error.code === "number" ? error.code : undefined, stderr, error);
}

/** A system tool that failed. */
export class ToolError extends HullError {
  constructor(
    readonly argv: readonly string[],
    /** Exit status; undefined if it was killed. */
    readonly exitCode: number | undefined,
    readonly stderr: string,
    cause: Error & { signal?: unknown },
  ) {
    const reason =
      lastLines(stderr, 5) ||
      (exitCode === undefined ? `killed by ${cause.signal}` : `exit status ${exitCode}`);
    super("Unknown", `${argv.slice(0, 2).join(" ")}: ${reason}`, { cause });
  }
}
