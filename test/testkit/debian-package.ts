import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./containerd.ts";

/**
 * Resolves with a directory that contains an extracted package of Debian 12: for programs that the machine
 * need not have installed.
 */
export async function debianPackage(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)(join(ROOT, "hack/fetch"), [`${name}/bookworm`]);
  return stdout.trim();
}
