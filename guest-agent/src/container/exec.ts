import { HullError } from "../../../src/core/errors.ts";
import type { Stdio } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import type { Exit } from "../loop/reaper.ts";
import type { Process as OciProcess } from "../oci/spec.ts";
import { GuestIo } from "../stdio/guest-io.ts";
import { allowing } from "../sys.ts";
import { launch } from "./launch.ts";
import { Process } from "./process.ts";
import type { Runtime } from "./runtime.ts";

interface ExecOptions {
  containerId: string;
  id: string;
  /** The container's bundle directory. */
  directory: string;
  process: OciProcess;
  stdio: Stdio | undefined;
  /** Returns whether the OOM killer has killed a process of the container. */
  oomKilled: () => boolean;
}

/** An additional process in a running container. */
export class Exec {
  readonly process: Process;
  readonly #runtime: Runtime;
  readonly #options: ExecOptions;

  /** Registers its stdio tokens; `process.abandon` frees them. */
  constructor(runtime: Runtime, options: ExecOptions) {
    this.#runtime = runtime;
    this.#options = options;
    const io = new GuestIo(runtime.sys, runtime.tokens, options.stdio);
    this.process = new Process(`exec ${options.id} of container ${options.containerId}`, io);
  }

  /**
   * Runs it with `crun exec`, once. If that fails, the exec counts as exited with the status that a shell
   * would give: 127 for a missing program, 126 for one that cannot be executed, 255 otherwise.
   */
  async start(): Promise<number> {
    const { process } = this;
    process.machine.require("start", "created");
    process.machine.transition("starting");
    const { sys, reaper, crun, consolePath } = this.#runtime;
    const { containerId, directory, process: oci } = this.#options;
    const name = `exec-${this.#options.id}`;
    const file = `${directory}/${name}.json`;
    try {
      sys.writeFile(file, JSON.stringify(oci));
      const pid = await launch(
        { sys, reaper, consolePath },
        process.io,
        (fds, consoleSocket) =>
          crun.exec(file, { containerId, directory, name, program: oci.args[0] ?? "", fds, consoleSocket }),
        (pid) => process.setPid(pid),
        (exit) => this.#ended(exit),
      );
      if (process.machine.is("starting")) process.machine.transition("running");
      return pid;
    } catch (thrown) {
      const error = HullError.from(thrown, "Internal");
      process.io.close();
      if (!process.machine.is("stopped")) {
        const status = error.code === "NotFound" ? 127 : error.code === "InvalidArgument" ? 126 : 255;
        process.finish({ status, atUnixNano: BigInt(Date.now()) * 1_000_000n }, false);
      }
      throw error;
    } finally {
      allowing(["ENOENT"], () => sys.unlink(file));
    }
  }

  #ended(exit: Exit): void {
    this.process.finish(exit, this.#options.oomKilled());
  }
}
