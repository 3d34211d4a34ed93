import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Deadline } from "../../../src/core/deadline.ts";
import { debianPackage } from "../debian-package.ts";

/**
 * A containerd with nothing but its ttrpc and event servers (no CRI, network or images), which starts fast.
 * For one that runs containers see testkit/containerd.ts. It dies with the test process.
 */
export class EventsContainerd {
  readonly #process: ChildProcess;
  readonly #log: string[] = [];
  #ctr: ChildProcess | undefined;

  private constructor(
    readonly directory: string,
    readonly programs: string,
  ) {
    const command = [join(programs, "containerd"), "--config", join(directory, "config.toml")];
    this.#process = spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  }

  static async start(deadline: Deadline): Promise<EventsContainerd> {
    const directory = await mkdtemp(join(tmpdir(), "hull-ctd-"));
    await writeFile(
      join(directory, "config.toml"),
      [
        "version = 2",
        `root = "${directory}/root"`,
        `state = "${directory}/state"`,
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
        "[grpc]",
        `address = "${directory}/grpc.sock"`,
        "[ttrpc]",
        `address = "${directory}/ttrpc.sock"`,
        '[plugins."io.containerd.internal.v1.opt"]',
        `path = "${directory}/opt"`,
        "",
      ].join("\n"),
    );
    const containerd = new EventsContainerd(directory, join(await debianPackage("containerd"), "usr/bin"));
    try {
      await deadline.race(containerd.#booted());
    } catch (error) {
      await containerd.stop();
      throw new Error(`containerd does not start: ${error}\n${containerd.#log.join("\n")}`);
    }
    return containerd;
  }

  get ttrpcAddress(): string {
    return join(this.directory, "ttrpc.sock");
  }

  /** Calls `listener` with each line of `ctr events`. */
  events(listener: (line: string) => void): void {
    const address = join(this.directory, "grpc.sock");
    const command = [join(this.programs, "ctr"), "--address", address, "events"];
    this.#ctr = spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (this.#ctr.stdout) createInterface(this.#ctr.stdout).on("line", listener);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  async stop(): Promise<void> {
    for (const child of [this.#ctr, this.#process]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Resolves when containerd has logged that all servers listen. */
  #booted(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#process.once("error", reject);
      this.#process.once("exit", (code, signal) => reject(new Error(`exit ${code ?? signal}`)));
      if (!this.#process.stderr) return;
      createInterface(this.#process.stderr).on("line", (line) => {
        this.#log.push(line);
        if (line.includes("containerd successfully booted")) resolve();
      });
    });
  }
}
