/** The system-call module. All code but `main.ts` gets it as a parameter, so that tests can pass a fake. */
export type Sys = typeof import("sys");

/** Signal number (signal(7), x86-64 and arm64). */
export const SIGKILL = 9;
/** Signal number. */
export const SIGTERM = 15;
/** Signal number. */
export const SIGCHLD = 17;

/** Returns the errno name of an error that `sys` threw, or undefined for any other. */
export function errnoName(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Runs `step` and ignores errors with one of the `expected` errno names. */
export function allowing(expected: readonly string[], step: () => void): void {
  try {
    step();
  } catch (error) {
    const code = errnoName(error);
    if (code === undefined || !expected.includes(code)) throw error;
  }
}
