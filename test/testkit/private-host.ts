import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Containerd, type Line } from "./containerd.ts";

/** Runs hack/containerd, and so containerd with its shims, where mounts are not the machine's. */
const WITHIN = ["unshare", "--mount", "--propagation", "private", "--"];

/** A containerd in a mount namespace of its own: there its file systems and programs can be spoilt. */
export class PrivateHost {
  private constructor(
    readonly containerd: Containerd,
    readonly pid: number,
  ) {}

  static async up(line: Line): Promise<PrivateHost> {
    const containerd = await Containerd.up(line, WITHIN);
    return new PrivateHost(containerd, await containerd.pid());
  }

  /** Runs lines of shell in the namespace, as root, until the first that fails; `args` are $1 and so on. */
  async sh(script: string, ...args: string[]): Promise<string> {
    const enter = [`--mount=/proc/${this.pid}/ns/mnt`, "--", "/bin/sh", "-euc", script, "sh", ...args];
    return (await promisify(execFile)("nsenter", enter)).stdout;
  }

  down(): Promise<void> {
    return this.containerd.down();
  }
}
