import { failedPrecondition, HullError } from "../../core/errors.ts";
import { type ChildResult, runChild } from "./child.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, type Sys } from "./sys.ts";

/** The program of the daemon, which is Node with `lib/shim.cjs` of the installation. */
export class DaemonBinary {
  readonly node: string;
  readonly shim: string;

  /** `installation` is the directory with bin/ and lib/. */
  constructor(
    readonly sys: Sys,
    readonly installation: string,
  ) {
    this.node = `${installation}/lib/node`;
    this.shim = `${installation}/lib/shim.cjs`;
  }

  /** Returns the daemon binary next to the running launcher, in an installation or a build directory. */
  static ofLauncher(sys: Sys): DaemonBinary {
    return new DaemonBinary(sys, sys.readlink("/proc/self/exe").split("/").slice(0, -2).join("/"));
  }

  /** Throws FailedPrecondition if a file is missing. A daemon that cannot start could not report it. */
  check(): void {
    for (const path of [this.node, this.shim]) {
      if (ifExists(() => this.sys.stat(path)) === undefined) {
        throw failedPrecondition(
          `${path} does not exist: the installation of hull is incomplete; run hack/install again`,
        );
      }
    }
  }

  /** Returns the command line of an action. */
  command(action: "daemon" | "cleanup" | "protocol", paths: PodPaths): string[] {
    const flags = ["--no-warnings", "--v8-pool-size=0"];
    return [this.node, ...flags, this.shim, action, "-namespace", paths.namespace, "-id", paths.pod];
  }

  /**
   * Returns the environment of every action. containerd's own is not passed on: it may contain credentials,
   * NODE_OPTIONS could run any code, and NODE_EXTRA_CA_CERTS costs 70 ms.
   */
  environment(): string[] {
    const kept = ["PATH", "HULL_CONFIG"].flatMap((name) => {
      const value = this.sys.getenv(name);
      return value === undefined ? [] : [`${name}=${value}`];
    });
    // One malloc arena: less memory, and the daemon's threads do not compete for it.
    return [...kept, "MALLOC_ARENA_MAX=1"];
  }

  /**
   * Releases what a dead daemon left of its pod, in at most `timeoutMs`. Returns its output, with warnings on stderr.
   * Throws FailedPrecondition if that fails.
   */
  cleanUp(paths: PodPaths, timeoutMs: number): ChildResult {
    return this.#run("cleanup", paths, timeoutMs);
  }

  /** Returns `shim.protocol` of the pod's configuration. Throws FailedPrecondition if it cannot be read. */
  protocol(paths: PodPaths, timeoutMs: number): string {
    return this.#run("protocol", paths, timeoutMs).stdout.trim();
  }

  #run(action: "cleanup" | "protocol", paths: PodPaths, timeoutMs: number): ChildResult {
    const what = `${action} of ${paths.directory}`;
    this.check();
    let result: ChildResult;
    try {
      result = runChild(this.sys, this.command(action, paths), this.environment(), timeoutMs);
    } catch (error) {
      throw HullError.wrap(`start the ${what}`, error);
    }
    if (result.timedOut) throw failedPrecondition(`${what}: timed out after ${timeoutMs} ms`);
    if (result.code !== 0 || result.signal !== 0) {
      const how = result.signal !== 0 ? `signal ${result.signal}` : `status ${result.code}`;
      const output = result.stderr.trim().split("\n").slice(-3).join(" | ");
      throw failedPrecondition(`${what} exited with ${how}: ${output || "no output"}`);
    }
    return result;
  }
}
