import {
  alreadyExists,
  failedPrecondition,
  HullError,
  notFound,
  resourceExhausted,
} from "../../../src/core/errors.ts";
import { GUEST_ROOTS } from "../../../src/core/guest-paths.ts";
import { SerialQueue } from "../../../src/core/serial-queue.ts";
import { StateMachine } from "../../../src/core/state-machine.ts";
import type { CreateContainerRequest, Stdio } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { CGROUP_ROOT } from "../boot/mounts.ts";
import { Cgroup } from "../cgroup/cgroup.ts";
import { OomWatch } from "../cgroup/oom-watch.ts";
import { awaitPciDevices } from "../devices/await-devices.ts";
import { ModuleLibrary } from "../devices/module-library.ts";
import { ownDevices } from "../devices/own-devices.ts";
import { removeTree } from "../files.ts";
import { describe } from "../log.ts";
import type { Exit } from "../loop/reaper.ts";
import { within } from "../loop/timeout.ts";
import { prepareProcess, prepareSpec } from "../oci/spec.ts";
import { GuestIo } from "../stdio/guest-io.ts";
import { awaitDevices } from "../storage/disks.ts";
import { RootDisk } from "../storage/root-disk.ts";
import { SIGKILL } from "../sys.ts";
import { Exec } from "./exec.ts";
import { launch } from "./launch.ts";
import { Process } from "./process.ts";
import type { Runtime } from "./runtime.ts";
import { type SignalOptions, signalPids, signalProcess } from "./signal.ts";

const MAX_EXECS = 1024;
const END_TIMEOUT_MS = 10_000;
/** How long a hot-plugged disk may take to appear. */
const DISK_TIMEOUT_MS = 20_000;
/** How long a driver may take to start a PCI device. */
const PCI_TIMEOUT_MS = 20_000;

/** The VM's devices that a container gets, and where to find their drivers. */
type WantedDevices = Pick<
  CreateContainerRequest,
  "blockDevices" | "pciDevices" | "ownDevices" | "moduleDirectory" | "rootDisk"
>;

type ContainerState = "created" | "running" | "pausing" | "paused" | "stopped" | "deleted";

/**
 * A container: its init, execs, cgroup and bundle directory. Start, pause, resume, update and delete run one
 * after another; all other calls run at once.
 */
export class Container {
  readonly machine: StateMachine<ContainerState>;
  readonly init: Process;
  readonly cgroup: Cgroup;
  readonly #runtime: Runtime;
  readonly #directory: string;
  readonly #execs = new Map<string, Exec>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #queue = new SerialQueue();
  readonly #rootDisk: RootDisk;
  #oom: OomWatch | undefined;

  /** Registers the tokens of `stdio`; the caller must then call `create` or `destroy`. */
  constructor(
    runtime: Runtime,
    readonly id: string,
    stdio: Stdio | undefined,
  ) {
    this.#runtime = runtime;
    this.#directory = `${runtime.bundles}/${id}`;
    this.#rootDisk = new RootDisk(runtime.sys, `${GUEST_ROOTS}/${id}`);
    this.cgroup = new Cgroup(runtime.sys, `${CGROUP_ROOT}${runtime.cgroupParent}/${id}`);
    this.machine = new StateMachine<ContainerState>(
      `container ${id}`,
      {
        created: ["running", "stopped"],
        running: ["pausing", "stopped"],
        pausing: ["paused", "running", "stopped"],
        paused: ["running", "stopped"],
        stopped: ["deleted"],
        deleted: [],
      },
      "created",
    );
    this.init = new Process(`container ${id}`, new GuestIo(runtime.sys, runtime.tokens, stdio));
  }

  /**
   * Runs `crun create` with the given OCI spec and returns init's PID. On failure nothing of the container is
   * left.
   */
  async create(
    specJson: Uint8Array,
    { blockDevices, pciDevices, ownDevices: own, moduleDirectory, rootDisk }: WantedDevices,
  ): Promise<number> {
    const { sys, reaper, crun, consolePath, cgroupParent, podPidNamespace } = this.#runtime;
    const io = this.init.io;
    try {
      const disks = await awaitDevices(sys, blockDevices, DISK_TIMEOUT_MS);
      const modules = new ModuleLibrary(sys, moduleDirectory, this.#runtime.log);
      const nodes = ownDevices(sys, modules, own);
      nodes.push(...(await awaitPciDevices(sys, pciDevices, PCI_TIMEOUT_MS, modules)));
      if (rootDisk) await this.#rootDisk.mount(rootDisk, DISK_TIMEOUT_MS);
      const spec = prepareSpec(specJson, {
        cgroupsPath: `${cgroupParent}/${this.id}`,
        terminal: io.terminal,
        podPidNamespace: () => podPidNamespace.path(),
        disks,
        nodes,
        rootPath: rootDisk && this.#rootDisk.path,
      });
      sys.mkdirp(this.#directory, 0o700);
      sys.writeFile(`${this.#directory}/config.json`, JSON.stringify(spec));
      return await launch(
        { sys, reaper, consolePath },
        io,
        (fds, consoleSocket) =>
          crun.create(this.#directory, {
            containerId: this.id,
            directory: this.#directory,
            name: "init",
            program: spec.process.args[0] ?? "",
            fds,
            consoleSocket,
          }),
        (pid) => {
          this.init.setPid(pid);
          this.#watchOom();
        },
        (exit) => {
          this.#initEnded(exit).catch((error) =>
            this.#runtime.log("error", `container ${this.id}: ${describe(error)}`),
          );
        },
      );
    } catch (error) {
      await this.destroy().catch((left) =>
        this.#runtime.log("error", `container ${this.id}: ${describe(left)}`),
      );
      throw HullError.from(error, "Internal");
    }
  }

  /** Starts init's program. Rejects with FailedPrecondition if init has exited. */
  start(): Promise<number> {
    return this.#queue.run(async () => {
      this.machine.require("start", "created");
      try {
        this.#runtime.crun.start(this.id);
      } catch (error) {
        throw failedPrecondition(
          `container ${this.id}: start: its init process has exited (${describe(error)})`,
        );
      }
      this.machine.transition("running");
      if (this.init.machine.is("created")) this.init.machine.transition("running");
      return this.init.pid ?? 0;
    });
  }

  /** Registers an exec. Throws AlreadyExists, ResourceExhausted, InvalidArgument, or FailedPrecondition. */
  addExec(execId: string, processJson: Uint8Array, stdio: Stdio | undefined): void {
    this.machine.require("exec in", "running");
    if (this.#execs.has(execId))
      throw alreadyExists(`exec ${execId} of container ${this.id}: already exists`);
    if (this.#execs.size >= MAX_EXECS) {
      throw resourceExhausted(`container ${this.id}: has ${MAX_EXECS} execs; delete those that have exited`);
    }
    const process = prepareProcess(processJson, stdio?.terminal ?? false);
    const { id: containerId } = this;
    const exec = new Exec(this.#runtime, {
      containerId,
      id: execId,
      directory: this.#directory,
      process,
      stdio,
      oomKilled: () => this.#oomKilled(),
    });
    this.#execs.set(execId, exec);
  }

  /** Starts an exec. Several may start concurrently; pause waits for them. */
  startExec(execId: string): Promise<number> {
    const exec = this.#exec(execId);
    this.machine.require("exec in", "running");
    const start = exec.start();
    const settled = start.catch(() => undefined).finally(() => this.#starting.delete(settled));
    this.#starting.add(settled);
    return start;
  }

  /** Returns the exec, or init if the id is empty. Throws NotFound. */
  process(execId: string): Process {
    return execId === "" ? this.init : this.#exec(execId).process;
  }

  /** Sends a signal to one process or, with `all`, to every process of the container. Throws NotFound. */
  signal(execId: string, all: boolean, options: SignalOptions): void {
    const process = this.process(execId);
    if (!all) {
      signalProcess(this.#runtime.sys, process, options);
      return;
    }
    const pids = this.cgroup.pids();
    if (pids.length === 0) throw notFound(`container ${this.id}: process already finished`);
    if (options.signal === SIGKILL) {
      this.cgroup.kill();
      return;
    }
    signalPids(
      this.#runtime.sys,
      pids.filter((pid) => pid !== this.init.pid),
      options.signal,
    );
    if (this.init.alive) signalProcess(this.#runtime.sys, this.init, options);
  }

  /** Freezes the container once pending exec starts have finished. */
  pause(): Promise<void> {
    return this.#queue.run(async () => {
      this.machine.require("pause", "running");
      this.machine.transition("pausing");
      await Promise.all(this.#starting);
      try {
        await this.cgroup.freeze(true);
      } catch (error) {
        if (this.machine.is("pausing")) this.machine.transition("running");
        throw error;
      }
      // It may have exited while it was being frozen.
      this.machine.require("pause", "pausing");
      this.machine.transition("paused");
    });
  }

  /** Thaws a paused container. */
  resume(): Promise<void> {
    return this.#queue.run(async () => {
      this.machine.require("resume", "paused");
      await this.cgroup.freeze(false);
      if (this.machine.is("paused")) this.machine.transition("running");
    });
  }

  /** Changes its limits; takes `linux.resources` of the OCI runtime spec as JSON. */
  update(resourcesJson: Uint8Array): Promise<void> {
    return this.#queue.run(async () => {
      this.machine.require("update", "created", "running", "paused");
      const file = `${this.#directory}/resources.json`;
      this.#runtime.sys.writeFile(file, resourcesJson);
      await this.#runtime.crun.update(this.id, file, this.#directory);
    });
  }

  /** Removes an exec that has exited or was never started. */
  deleteExec(execId: string): void {
    const { process } = this.#exec(execId);
    process.machine.require("delete", "created", "stopped");
    this.#execs.delete(execId);
    process.abandon();
  }

  /**
   * Removes a container that has stopped or was never started. Rejects with NotFound if it has been deleted.
   */
  delete(): Promise<void> {
    return this.#queue.run(async () => {
      // The host repeats the call if it has timed out waiting for a late answer.
      if (this.machine.is("deleted")) throw notFound(`container ${this.id}: was deleted`);
      this.machine.require("delete", "created", "stopped");
      if (this.machine.is("created") && this.init.alive) {
        this.cgroup.kill();
        await this.init.wait();
      }
      await this.destroy();
      if (!this.machine.is("stopped")) this.machine.transition("stopped");
      this.machine.transition("deleted");
    });
  }

  /**
   * Kills what is left and releases everything. A failed step does not stop the others; rejects with the
   * first error.
   */
  async destroy(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = async (step: () => unknown): Promise<void> => {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    };
    for (const exec of this.#execs.values()) await attempt(() => exec.process.abandon());
    this.#execs.clear();
    await attempt(() => this.init.abandon());
    this.#oom?.close();
    await attempt(() => this.cgroup.remove());
    await attempt(() => this.#rootDisk.writeBack(this.#runtime.reaper));
    await attempt(() => this.#rootDisk.unmount());
    await attempt(() => removeTree(this.#runtime.sys, this.#runtime.crun.stateOf(this.id)));
    await attempt(() => removeTree(this.#runtime.sys, this.#directory));
    if (failures.length > 0) throw HullError.wrap(`container ${this.id}: delete`, failures[0], "Internal");
  }

  /** Kills what still runs and unmounts the root disk, before the VM is powered off. */
  async releaseRootDisk(timeoutMs: number): Promise<void> {
    if (!this.#rootDisk.mounted) return;
    this.cgroup.kill();
    await this.cgroup.empty(timeoutMs);
    this.#rootDisk.unmount();
  }

  #exec(execId: string): Exec {
    const exec = this.#execs.get(execId);
    if (!exec) throw notFound(`exec ${execId} of container ${this.id}: not found`);
    return exec;
  }

  #watchOom(): void {
    this.#oom = new OomWatch(this.#runtime.sys, this.cgroup, (count) => {
      const oom = { containerId: this.id, oomKillCount: BigInt(count) };
      this.#runtime.events.publish({ event: { $case: "oom", value: oom } });
    });
  }

  #oomKilled(): boolean {
    this.#oom?.check();
    return (this.#oom?.count ?? 0) > 0;
  }

  /** Called when init has been reaped: kills the rest of the container and then reports init's exit. */
  async #initEnded(exit: Exit): Promise<void> {
    this.init.reaped();
    this.cgroup.kill();
    await this.cgroup.empty(END_TIMEOUT_MS).catch((error) => this.#runtime.log("warn", describe(error)));
    const execs = [...this.#execs.values()].map((exec) => exec.process).filter((process) => process.alive);
    if (execs.length > 0) {
      const all = Promise.all(execs.map((process) => process.wait()));
      await within(
        this.#runtime.sys,
        END_TIMEOUT_MS,
        `container ${this.id}: waiting for its execs to exit`,
        all,
      ).catch((error) => this.#runtime.log("warn", describe(error)));
    }
    if (!this.machine.is("stopped", "deleted")) this.machine.transition("stopped");
    this.init.finish(exit, this.#oomKilled());
  }
}
