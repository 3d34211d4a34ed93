import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Containerd, type Line } from "./containerd.ts";

/** Runs hack/containerd, and so containerd with its shims, in a new mount namespace. */
const WITHIN = ["unshare", "--mount", "--propagation", "private", "--"];

/** A containerd in its own mount namespace, where tests can break file systems and programs. */
export class PrivateHost {
  private constructor(
    readonly containerd: Containerd,
    readonly pid: number,
  ) {}

  static async up(line: Line): Promise<PrivateHost> {
    const containerd = await Containerd.up(line, WITHIN);
    return new PrivateHost(containerd, await containerd.pid());
  }

  /** Runs a shell script (`sh -eu`) in the namespace, as root; `args` are $1 and so on. */
  async sh(script: string, ...args: string[]): Promise<string> {
    const enter = [`--mount=/proc/${this.pid}/ns/mnt`, "--", "/bin/sh", "-euc", script, "sh", ...args];
    return (await promisify(execFile)("nsenter", enter)).stdout;
  }

  down(): Promise<void> {
    return this.containerd.down();
  }
}
