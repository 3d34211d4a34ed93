import { existsSync } from "node:fs";

/**
 * Fails the test file that calls it unless all of these exist: tests that are left out for want of what the build
 * makes would look like tests that passed.
 * @throws Error that names what is missing.
 */
export function requireFiles(paths: readonly string[], remedy: string): void {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new Error(`${missing.join(", ")} missing: ${remedy}`);
}
