import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * Returns a program's installation directory (with lib/, guest/, libexec/, configs/): the parent of its
 * bundle's directory, or the checkout's dist/ for `src/bin/x.ts`.
 */
export async function installationOf(program: string): Promise<string> {
  const parent = dirname(dirname(await realpath(program)));
  return basename(parent) === "src" ? join(dirname(parent), "dist") : parent;
}
