/** A command's environment; tests pass their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The directory with bin/, guest/ and configs/. */
  readonly installation: string;
  /** The base of relative paths in arguments. */
  readonly cwd: string;
  /** The root directory to search for configurations in; only tests set it. */
  readonly root?: string;
  out(text: string): void;
  err(text: string): void;
}

/** Exit statuses of the CLI. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;
