import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { procStatFields } from "../../src/core/proc-stat.ts";
import { Ctr } from "./ctr.ts";

const run = promisify(execFile);

/** The repository's root. */
export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const LINES = ["1.6", "1.7", "2"] as const;
export type Line = (typeof LINES)[number];

/** A private containerd, started and stopped by hack/containerd. */
export class Containerd {
  private constructor(
    readonly line: Line,
    /** Contains everything that this instance writes. */
    readonly directory: string,
  ) {}

  /**
   * Starts an instance in its own directory. Rejects with hack/containerd's message. `within`: a command that
   * runs hack/containerd, and so containerd, in another environment.
   */
  static async up(line: Line, within: readonly string[] = []): Promise<Containerd> {
    // hack/test sets one parent directory, so that it can stop what a killed test run leaves.
    const parent = process.env.HULL_E2E_DIR ?? tmpdir();
    await mkdir(parent, { recursive: true });
    const containerd = new Containerd(line, await mkdtemp(join(parent, "ctd-")));
    await containerd.#script("up", within);
    return containerd;
  }

  /** The gRPC socket's path. */
  get address(): string {
    return join(this.directory, "containerd.sock");
  }

  /** Resolves with ctr for a namespace that has the test images. */
  async namespace(name: string): Promise<Ctr> {
    const ctr = new Ctr(join(this.directory, "ctr"), name);
    const local = this.line === "2" ? ["--local"] : [];
    await ctr.expect(["images", "import", ...local, join(this.directory, "images.tar")]);
    return ctr;
  }

  /** Resolves with the last lines of containerd's log, for error messages. */
  async log(lines = 40): Promise<string> {
    const text = await readFile(join(this.directory, "containerd.log"), "utf8");
    return text.split("\n").slice(-lines).join("\n");
  }

  async pid(): Promise<number> {
    return Number(await readFile(join(this.directory, "containerd.pid"), "utf8"));
  }

  /** Runs a program in containerd's mount namespace. Resolves with its output. */
  async among(...argv: [string, ...string[]]): Promise<string> {
    const { stdout } = await run("nsenter", [`--mount=/proc/${await this.pid()}/ns/mnt`, "--", ...argv]);
    return stdout;
  }

  /** Kills containerd alone (SIGKILL): its shims keep running. */
  async kill(): Promise<void> {
    const pid = await this.pid();
    process.kill(pid, "SIGKILL");
    // It is not our child, so only /proc shows when its sockets and files are closed.
    for (const end = performance.now() + 60_000; await runs(pid); await sleep(10))
      if (performance.now() > end) throw new Error(`containerd ${pid} does not exit`);
  }

  /** Starts it again after `kill`, with its state. */
  async restart(): Promise<void> {
    await this.#script("up");
  }

  /**
   * Removes network namespaces that belong to no pod, for a containerd without pods: it forgets one if it is
   * killed between creating and recording it (with runc in 6 of 25 attempts).
   */
  async removeForgottenNetns(): Promise<void> {
    const directory = join(this.directory, "state/io.containerd.grpc.v1.cri/netns");
    for (const name of await readdir(directory)) {
      await run("umount", [join(directory, name)]).catch((error: { stderr?: string }) => {
        if (!error.stderr?.includes("not mounted")) throw error;
      });
      await rm(join(directory, name));
    }
  }

  /** Stops it with all its shims and removes its directory. */
  async down(): Promise<void> {
    await this.#script("down");
    await rm(this.directory, { recursive: true, force: true });
  }

  async #script(action: "up" | "down", within: readonly string[] = []): Promise<void> {
    const [program = "", ...args] = [
      ...within,
      join(ROOT, "hack/containerd"),
      this.line,
      action,
      this.directory,
    ];
    await run(program, args, { timeout: 300_000 });
  }
}

/** Whether a process exists and is not a zombie. */
async function runs(pid: number): Promise<boolean> {
  const state = procStatFields(await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""))[3];
  return state !== undefined && !/[ZX]/.test(state);
}
