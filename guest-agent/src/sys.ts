/** The system-call module, as everything but `main.ts` gets it: passed in, so that tests can pass a fake. */
export type Sys = typeof import("sys");

/** Signal numbers (signal(7), x86-64 and arm64). */
export const SIGKILL = 9;
export const SIGTERM = 15;
export const SIGCHLD = 17;

/** The errno name of something that `sys` threw; undefined for any other failure. */
export function errnoName(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Runs `step` and lets failures with one of the `expected` errno names pass. */
export function allowing(expected: readonly string[], step: () => void): void {
  try {
    step();
  } catch (error) {
    const code = errnoName(error);
    if (code === undefined || !expected.includes(code)) throw error;
  }
}
