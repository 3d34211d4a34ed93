import { execFile } from "node:child_process";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { MissingToolError, missingIn } from "./missing-tool.ts";
import { lastLines } from "./ring-buffer.ts";

export interface RunOptions {
  readonly cwd?: string;
  /** Added to the scrubbed environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The environment that system tools and helpers get: nothing of the shim's own but the PATH. */
export function scrubbedEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const path = process.env.PATH ?? "";
  const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return { PATH: path === "" ? system : `${path}:${system}`, LC_ALL: "C", ...extra };
}

/**
 * Runs a system tool to its end and returns its stdout (at most 4 MiB). One that is missing is a MissingToolError, one
 * that is not done at the deadline is killed, one that fails is a ToolError with its last words on stderr.
 */
export async function run(
  argv: readonly [string, ...string[]],
  deadline: Deadline,
  options: RunOptions = {},
): Promise<string> {
  deadline.check();
  const [tool, ...args] = argv;
  return await new Promise<string>((resolve, reject) => {
    let detach = () => undefined as unknown;
    const env = scrubbedEnvironment(options.env);
    const child = execFile(
      tool,
      args,
      {
        env,
        maxBuffer: 4 * 1024 * 1024,
        encoding: "utf8",
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        detach();
        if (!error) resolve(stdout);
        else if (deadline.reason) reject(HullError.wrap(tool, deadline.reason));
        else if (error.code === "ENOENT" && options.cwd === undefined)
          reject(new MissingToolError(tool, env.PATH ?? "", error));
        else reject(toolFailure(argv, env.PATH ?? "", stderr, error));
      },
    );
    child.stdin?.end();
    detach = deadline.onEnd(() => {
      child.kill("SIGKILL");
      // What it has started may hold these open for as long as it likes.
      child.stdout?.destroy();
      child.stderr?.destroy();
    });
  });
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

/** A system tool that ended with a failure. */
export class ToolError extends HullError {
  constructor(
    readonly argv: readonly string[],
    /** Exit status; undefined when it was killed or could not be started. */
    readonly exitCode: number | undefined,
    readonly stderr: string,
    cause: Error,
  ) {
    const words =
      lastLines(stderr, 5) || (exitCode === undefined ? cause.message : `exit status ${exitCode}`);
    super("Unknown", `${argv.slice(0, 2).join(" ")}: ${words}`, { cause });
  }
}
