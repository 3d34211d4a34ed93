/** What a command gets from outside; tests pass their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The directory that holds bin/, guest/ and configs/. */
  readonly installation: string;
  /** What relative arguments are relative to. */
  readonly cwd: string;
  /** The root of the file system that configurations are looked for in; tests have their own. */
  readonly root?: string;
  out(text: string): void;
  err(text: string): void;
}

/** Exit statuses of the CLI. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;
