import { internal } from "../../../src/core/errors.ts";
import { readText } from "../files.ts";
import { runCommand } from "../loop/command.ts";
import type { Reaper } from "../loop/reaper.ts";
import { allowing, errnoName, type Sys } from "../sys.ts";
import { crunError } from "./crun-error.ts";

const TIMEOUT_MS = 60_000;
const MAX_LOG_BYTES = 256 << 10;
const ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];

interface CrunPaths {
  binary: string;
  /** Where crun keeps its state. */
  stateRoot: string;
}

interface Launch {
  containerId: string;
  /** Directory for the PID file and the log; one launch at a time per `name`. */
  directory: string;
  name: string;
  /** The program, for error messages. */
  program: string;
  fds: number[];
  consoleSocket: string | undefined;
}

/** The crun commands that the agent uses. It does everything else itself, since each crun takes time. */
export class Crun {
  readonly #sys: Sys;
  readonly #reaper: Reaper;
  readonly #paths: CrunPaths;

  constructor(sys: Sys, reaper: Reaper, paths: CrunPaths) {
    this.#sys = sys;
    this.#reaper = reaper;
    this.#paths = paths;
  }

  /**
   * `crun create`: resolves with the PID of the waiting init, a child of the agent. The caller must hold the
   * reaper.
   */
  create(bundle: string, launch: Launch): Promise<number> {
    // The root file system is the initramfs, where pivot_root(2) fails.
    return this.#launch("crun create", launch, (pidFile, terminal) => [
      "create",
      "--no-pivot",
      "--no-new-keyring",
      `--bundle=${bundle}`,
      `--pid-file=${pidFile}`,
      ...terminal,
      launch.containerId,
    ]);
  }

  /**
   * `crun exec --detach`: resolves with the PID of the running process, a child of the agent. The caller must
   * hold the reaper.
   */
  exec(processFile: string, launch: Launch): Promise<number> {
    return this.#launch(`container ${launch.containerId}: exec`, launch, (pidFile, terminal) => [
      "exec",
      "--detach",
      `--process=${processFile}`,
      `--pid-file=${pidFile}`,
      ...terminal,
      launch.containerId,
    ]);
  }

  /**
   * Starts a created container's program as `crun start` does, but without a process: writes one byte to the
   * FIFO on which init waits and removes it, which is how crun marks a container as started.
   */
  start(containerId: string): void {
    const fifo = `${this.stateOf(containerId)}/exec.fifo`;
    // Fails with ENXIO if there is no reader: init has exited.
    const fd = this.#sys.open(fifo, this.#sys.O_WRONLY | this.#sys.O_NONBLOCK);
    try {
      this.#sys.unlink(fifo);
      this.#sys.write(fd, Uint8Array.of(1), 0, 1);
    } finally {
      this.#sys.close(fd);
    }
  }

  /** `crun update` with an OCI `linux.resources` file. Rejects with crun's error. */
  async update(containerId: string, resourcesFile: string, directory: string): Promise<void> {
    const step = `container ${containerId}: update`;
    await this.#run(step, "", `${directory}/update.log`, [
      "update",
      `--resources=${resourcesFile}`,
      containerId,
    ]);
  }

  /** Returns the directory in which crun keeps the state of a container. */
  stateOf(containerId: string): string {
    return `${this.#paths.stateRoot}/${containerId}`;
  }

  async #launch(
    step: string,
    launch: Launch,
    command: (pidFile: string, terminal: string[]) => string[],
  ): Promise<number> {
    const pidFile = `${launch.directory}/${launch.name}.pid`;
    const terminal = launch.consoleSocket === undefined ? [] : [`--console-socket=${launch.consoleSocket}`];
    try {
      await this.#run(
        step,
        launch.program,
        `${launch.directory}/${launch.name}.log`,
        command(pidFile, terminal),
        launch.fds,
      );
      const pid = Number(readText(this.#sys, pidFile, 64));
      if (!Number.isInteger(pid) || pid <= 1) throw internal(`${step}: crun wrote no PID to its PID file`);
      return pid;
    } finally {
      allowing(["ENOENT"], () => this.#sys.unlink(pidFile));
    }
  }

  async #run(step: string, program: string, log: string, args: string[], fds?: number[]): Promise<void> {
    const { binary, stateRoot } = this.#paths;
    const common = [
      `--root=${stateRoot}`,
      "--cgroup-manager=cgroupfs",
      `--log=file:${log}`,
      "--log-format=json",
    ];
    try {
      const exit = await runCommand(this.#sys, this.#reaper, {
        argv: [binary, ...common, ...args],
        env: ENVIRONMENT,
        timeoutMs: TIMEOUT_MS,
        ...(fds ? { fds } : {}),
      });
      if (exit.status !== 0) throw crunError(step, program, this.#readLog(log), exit.status);
    } finally {
      allowing(["ENOENT"], () => this.#sys.unlink(log));
    }
  }

  #readLog(path: string): string {
    try {
      return readText(this.#sys, path, MAX_LOG_BYTES);
    } catch (error) {
      if (errnoName(error) === "ENOENT") return "";
      return `log of crun: ${error instanceof Error ? error.message : error}`;
    }
  }
}
