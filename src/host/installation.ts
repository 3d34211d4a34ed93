import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * The directory of an installation (with lib/, guest/, libexec/ and configs/) that a program belongs to: the parent
 * of the directory its bundle is in. Run from the sources, `src/bin/x.ts`, it is the checkout's dist/.
 */
export async function installationOf(program: string): Promise<string> {
  const parent = dirname(dirname(await realpath(program)));
  return basename(parent) === "src" ? join(dirname(parent), "dist") : parent;
}
