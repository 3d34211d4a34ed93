import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./containerd.ts";

/** The folder that a package of Debian 12 lies extracted in: programs that the machine itself need not have. */
export async function debianPackage(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)(join(ROOT, "hack/fetch"), [`${name}/bookworm`]);
  return stdout.trim();
}
