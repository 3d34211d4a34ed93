import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { loadConfig } from "../../src/config/load.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { findProgram } from "../../src/host/program.ts";
import { openHypervisor } from "../../src/hypervisor/open.ts";
import { commandLine } from "../../src/hypervisor/qemu/command-line.ts";
import { vmSpec } from "../../src/sandbox/boot/vm-spec.ts";
import { DIST } from "../e2e/hull-config.ts";

const LIMIT_MS = 60_000;
/** The agent's console line when it is ready. */
const LISTENING = /hull-agent: info: ready after \d+ ms, (\d+) KiB resident/;

interface Boot {
  /** From spawn to the ready agent, without vsock and virtio-fs devices. */
  readonly ms: number;
  readonly agentRssMib: number;
}

/** QEMU with hull's kernel, initrd and machine, but without hull: the lower bound of a cold boot. */
export class RawBoot {
  private constructor(
    private readonly program: string,
    private readonly args: readonly string[],
  ) {}

  static async prepare(config: string, directory: string): Promise<RawBoot> {
    const { hypervisor } = (await loadConfig({ env: { HULL_CONFIG: config }, installation: DIST })).config;
    const path = await findProgram("hypervisor.path", hypervisor.path, {
      installation: DIST,
      path: process.env.PATH,
    });
    await mkdir(directory, { recursive: true });
    const deadline = Deadline.after(LIMIT_MS, "find out the accelerator");
    const { accel } = await openHypervisor(
      { ...hypervisor, path, installation: DIST },
      { warn: () => undefined, info: () => undefined },
      deadline,
    );
    deadline.dispose();
    const spec = vmSpec(hypervisor, {
      ...{ name: "hull-bench-raw", path, directory, netns: undefined, accel },
      vsock: { kind: "hybrid", cid: 3, socket: "" },
      share: { kind: "share", tag: "hull", socket: "" },
    });
    return new RawBoot(
      path,
      commandLine({ ...spec, shares: [] }, () => false),
    );
  }

  async run(): Promise<Boot> {
    const begin = performance.now();
    // The fourth descriptor is QMP, which is not used here.
    const qemu = spawn(this.program, this.args, {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      timeout: LIMIT_MS,
    });
    const gone = new Promise<void>((resolve) => qemu.once("close", () => resolve()));
    let output = "";
    try {
      return await new Promise<Boot>((resolve, reject) => {
        const hear = (data: Buffer) => {
          output += data.toString("latin1");
          const resident = LISTENING.exec(output)?.[1];
          if (resident) resolve({ ms: performance.now() - begin, agentRssMib: Number(resident) / 1024 });
        };
        qemu.stdout?.on("data", hear);
        qemu.stderr?.on("data", hear);
        qemu.once("error", reject);
        void gone.then(() =>
          reject(new Error(`QEMU exited before the agent listened: ${output.slice(-500)}`)),
        );
      });
    } finally {
      qemu.kill("SIGKILL");
      await gone;
    }
  }
}
