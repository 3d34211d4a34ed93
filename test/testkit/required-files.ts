import { existsSync } from "node:fs";

/**
 * Fails the calling test file unless all of these exist: tests skipped because the build has not run would look
 * like passed tests. Throws an Error that names what is missing.
 */
export function requireFiles(paths: readonly string[], remedy: string): void {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new Error(`${missing.join(", ")} missing: ${remedy}`);
}
