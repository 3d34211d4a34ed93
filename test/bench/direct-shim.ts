import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Deadline } from "../../src/core/deadline.ts";
import { HullError } from "../../src/core/errors.ts";
import { TaskDefinition } from "../../src/proto/generated/containerd/task/v2/task.ts";
import { Any } from "../../src/proto/generated/google/protobuf/any.ts";
import { Options } from "../../src/proto/generated/runtimeoptions/v1/options.ts";
import { type Client, ClientConnection, createClient } from "../../src/ttrpc/client.ts";
import { socketTransport } from "../../src/ttrpc/node/socket-transport.ts";
import { connectUnix } from "../../src/ttrpc/node/unix-socket.ts";
import { messageOf } from "../testkit/message.ts";
import type { Subject } from "./subject.ts";

const CALL_LIMIT_MS = 60_000;

interface ShimPlace {
  readonly subject: Subject;
  readonly namespace: string;
  readonly id: string;
  readonly bundle: string;
  /** containerd's gRPC socket; events go to the ttrpc socket in the same directory. */
  readonly containerd: string;
}

/** The result of a program. */
interface Ended {
  readonly ms: number;
  readonly stdout: string;
}

/** A shim driven as containerd does it, but without containerd's own overhead. */
export class DirectShim {
  #log: ChildProcess | undefined;
  /** The daemon's process, while it belongs to this shim. */
  #pid: number | undefined;
  #connection: ClientConnection | undefined;
  #task: Client<typeof TaskDefinition> | undefined;

  constructor(readonly place: ShimPlace) {}

  get task(): Client<typeof TaskDefinition> {
    if (!this.#task) throw new Error(`the shim of ${this.place.id} is not connected`);
    return this.#task;
  }

  /**
   * Runs `start`. Resolves with the ms until it exits with the address, and until the daemon's first answer.
   */
  async start(): Promise<{ startMs: number; answerMs: number }> {
    // runc's shim opens its log FIFO in blocking mode, so it needs a reader.
    this.#log = spawn("cat", [join(this.place.bundle, "log")], { stdio: ["ignore", "ignore", "inherit"] });
    const begin = performance.now();
    const { ms, stdout } = await this.#action("start");
    await this.#connect(addressOf(stdout));
    return { startMs: ms, answerMs: performance.now() - begin };
  }

  /** Creates the bundle's container, without streams. */
  async create(): Promise<void> {
    const { id, bundle } = this.place;
    // hull's shim reports its PID at once, so that it can be killed if the boot fails; runc's only with a
    // task.
    this.#pid = await this.shimPid().catch(() => undefined);
    await this.call((deadline) =>
      this.task.create(
        {
          ...{ id, bundle, rootfs: [], terminal: false, stdin: "", stdout: "", stderr: "" },
          ...{ checkpoint: "", parentCheckpoint: "", options: this.#options() },
        },
        { deadline },
      ),
    );
    this.#pid ??= await this.shimPid();
  }

  async startProcess(execId = ""): Promise<void> {
    await this.call((deadline) => this.task.start({ id: this.place.id, execId }, { deadline }));
  }

  /** Runs a command in the container, with both streams to `output`. Rejects if its status is not 0. */
  async exec(execId: string, args: readonly string[], output = ""): Promise<void> {
    const { id } = this.place;
    const process = { args, cwd: "/", env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], user: { uid: 0, gid: 0 } };
    const spec = {
      typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process",
      value: Buffer.from(JSON.stringify(process)),
    };
    await this.call((deadline) =>
      this.task.exec(
        { id, execId, terminal: false, stdin: "", stdout: output, stderr: output, spec },
        { deadline },
      ),
    );
    await this.startProcess(execId);
    const { exitStatus } = await this.call((deadline) => this.task.wait({ id, execId }, { deadline }));
    await this.call((deadline) => this.task.delete({ id, execId }, { deadline }));
    if (exitStatus !== 0) throw new Error(`${args.join(" ")} exited with status ${exitStatus}`);
  }

  /** Sends SIGKILL; resolves when Wait has answered. */
  async kill(): Promise<void> {
    const { id } = this.place;
    await this.call((deadline) => this.task.kill({ id, execId: "", signal: 9, all: false }, { deadline }));
    await this.call((deadline) => this.task.wait({ id, execId: "" }, { deadline }));
  }

  async delete(): Promise<void> {
    await this.call((deadline) => this.task.delete({ id: this.place.id, execId: "" }, { deadline }));
  }

  async shimPid(): Promise<number> {
    const answer = await this.call((deadline) => this.task.connect({ id: this.place.id }, { deadline }));
    return answer.shimPid;
  }

  /**
   * Calls Shutdown, then the `delete` action that containerd always runs. Resolves with the ms of the latter.
   */
  async shutdown(): Promise<number> {
    await this.call((deadline) => this.task.shutdown({ id: this.place.id, now: false }, { deadline })).catch(
      (error: unknown) => {
        // runc's shim exits without answering.
        if (HullError.from(error).code !== "Unavailable") throw error;
      },
    );
    this.#connection?.close();
    this.#pid = undefined;
    return await this.deleteAction();
  }

  async deleteAction(): Promise<number> {
    return (await this.#action("delete")).ms;
  }

  /** Resolves with the ms to start a trivial program, which are part of all times of `start` and `delete`. */
  async startNothing(): Promise<number> {
    return (await this.#action("delete", "/bin/true")).ms;
  }

  /** Cleans up, also after a failure: kills a shim that still runs, and runs its `delete`. */
  async dispose(): Promise<void> {
    this.#connection?.close();
    if (this.#pid !== undefined) await kill(this.#pid);
    // `delete` fails if everything is gone already, which is fine here.
    await this.deleteAction().catch(() => undefined);
    this.#log?.kill();
    await rm(this.place.bundle, { recursive: true, force: true });
  }

  /** Makes a call with its own deadline. */
  async call<T>(make: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = Deadline.after(CALL_LIMIT_MS, "a call of the benchmark");
    try {
      return await make(deadline);
    } finally {
      deadline.dispose();
    }
  }

  /** containerd uses version 3 of the service from 2.0 on, and version 2 before. */
  async #connect(address: string): Promise<void> {
    this.#connection = new ClientConnection(
      socketTransport(await this.call((deadline) => connectUnix(address, deadline))),
      { peer: `the shim of ${this.place.id}` },
    );
    for (const fullName of ["containerd.task.v3.Task", "containerd.task.v2.Task"] as const) {
      const definition = { ...TaskDefinition, fullName } as unknown as typeof TaskDefinition;
      this.#task = createClient(this.#connection, definition);
      try {
        await this.shimPid();
        return;
      } catch (error) {
        const { code, message } = HullError.from(error);
        // NotFound: a runc shim without a task, which supports the service.
        if (code === "NotFound") return;
        if (code !== "Unimplemented" || fullName.includes("v2")) throw new Error(`connect: ${message}`);
      }
    }
  }

  #options(): Any | undefined {
    const { config } = this.place.subject;
    if (config === undefined) return undefined;
    const value = Options.encode(messageOf(Options, { configPath: config })).finish();
    return { typeUrl: "runtimeoptions.v1.Options", value };
  }

  async #action(action: "start" | "delete", program = this.place.subject.shim): Promise<Ended> {
    const { namespace, id, bundle, containerd } = this.place;
    const flags = [
      "-namespace",
      namespace,
      "-id",
      id,
      "-address",
      containerd,
      "-publish-binary",
      "/bin/true",
    ];
    const begin = performance.now();
    const child = spawn(program, [...flags, ...(action === "delete" ? ["-bundle", bundle] : []), action], {
      cwd: bundle,
      env: { PATH: process.env.PATH, TTRPC_ADDRESS: `${containerd}.ttrpc`, GOMAXPROCS: "4" },
      stdio: "pipe",
      timeout: CALL_LIMIT_MS,
    });
    const options = action === "start" ? this.#options() : undefined;
    child.stdin.on("error", () => undefined); // a shim need not read it
    child.stdin.end(options ? Any.encode(options).finish() : undefined);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data: Buffer) => {
      stdout += data.toString("latin1");
    });
    child.stderr.on("data", (data: Buffer) => {
      stderr += data.toString();
    });
    const [code] = (await once(child, "exit")) as [number | null];
    const ms = performance.now() - begin;
    if (code !== 0) throw new Error(`${program} ${action}: status ${code}: ${stderr}`);
    return { ms, stdout };
  }
}

/** How long a killed shim may take to exit. */
const EXIT_TIMEOUT_MS = 5_000;

/** Sends SIGKILL; resolves when the process has been reaped by its parent. */
async function kill(pid: number): Promise<void> {
  const giveUp = performance.now() + EXIT_TIMEOUT_MS;
  try {
    process.kill(pid, "SIGKILL");
    while (performance.now() < giveUp) {
      process.kill(pid, 0);
      await sleep(20);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Returns the path in the answer of `start`: plain, or in JSON. */
function addressOf(answer: string): string {
  const text = answer.startsWith("{") ? (JSON.parse(answer) as { address: string }).address : answer.trim();
  if (!text.startsWith("unix://")) throw new Error(`start answered ${JSON.stringify(answer)}`);
  return text.slice("unix://".length);
}
