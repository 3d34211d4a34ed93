import { execFile } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ContainerdClient, type OciProcess, ociAny, type Spec } from "./containerd-client.ts";
import { OutputReader } from "./output-reader.ts";
import { Status } from "./proto/generated/containerd/services/tasks.ts";

const run = promisify(execFile);

/** How long a process's streams may take to end after its exit. */
const END_OF_OUTPUT_MS = 60_000;

/** How a process's streams are connected; by default FIFOs that are read at once. */
export interface Streams {
  readonly stdin?: boolean;
  readonly terminal?: boolean;
  /** Creates FIFOs, but reads them only after `read()`. */
  readonly readLater?: boolean;
  /** `file://` or `binary://` instead of FIFOs; "" for no output at all. */
  readonly uri?: string;
}

type Ended = { readonly code: number; readonly out: string; readonly err: string };

/** A process of a container through containerd's API: init (empty exec id) or an exec. */
export class TaskProcess {
  #stdin: number | undefined;
  stdout: OutputReader | undefined;
  stderr: OutputReader | undefined;
  readonly paths: { stdin: string; stdout: string; stderr: string };

  protected constructor(
    readonly client: ContainerdClient,
    readonly containerId: string,
    readonly execId: string,
    readonly directory: string,
    readonly streams: Streams,
  ) {
    const { uri, stdin = false, terminal = false } = streams;
    const fifo = (name: string) => (uri === undefined ? join(directory, name) : uri);
    this.paths = {
      stdin: stdin ? join(directory, "stdin") : "",
      stdout: fifo("stdout"),
      stderr: terminal ? "" : fifo("stderr"),
    };
  }

  get ref() {
    return { containerId: this.containerId, execId: this.execId };
  }

  protected async makeStreams(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    const fifos = Object.values(this.paths).filter((path) => path.startsWith(this.directory));
    if (fifos.length > 0) await run("mkfifo", fifos);
    if (this.streams.readLater !== true) this.read();
  }

  /** Opens the reading ends. */
  read(): void {
    const { stdout, stderr } = this.paths;
    if (stdout.startsWith("/")) this.stdout = OutputReader.fifo(stdout);
    if (stderr.startsWith("/")) this.stderr = OutputReader.fifo(stderr);
  }

  async start(timeoutMs?: number): Promise<this> {
    await this.client.tasks.start(this.ref, timeoutMs === undefined ? {} : { timeoutMs });
    return this;
  }

  /** Writes to stdin, which the shim keeps open. */
  write(text: string): void {
    // Non-blocking: the shim keeps the FIFO open, so there is a reader.
    this.#stdin ??= openSync(this.paths.stdin, constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(this.#stdin, text);
  }

  /** Closes stdin as ctr does: our end first, then the shim's. */
  async closeStdin(): Promise<void> {
    if (this.#stdin !== undefined) closeSync(this.#stdin);
    this.#stdin = undefined;
    await this.client.tasks.closeIO({ ...this.ref, stdin: true });
  }

  /** Resolves with the exit status, once the process has exited. */
  async exited(timeoutMs = 60_000): Promise<number> {
    return (await this.client.tasks.wait(this.ref, { timeoutMs })).exitStatus;
  }

  /** Waits for the exit of the process and the end of its output. */
  async ended(timeoutMs?: number): Promise<Ended> {
    const code = await this.exited(timeoutMs);
    await this.outputEnded();
    return { code, out: this.stdout?.text ?? "", err: this.stderr?.text ?? "" };
  }

  /** Waits for the end of the streams only, without containerd. */
  async outputEnded(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.#name}: its streams stay open`)), END_OF_OUTPUT_MS);
    });
    try {
      await Promise.race([late, Promise.all([this.stdout?.ended, this.stderr?.ended])]);
    } finally {
      clearTimeout(timer);
    }
  }

  async kill(signal: number, all = false, timeoutMs = 60_000): Promise<void> {
    await this.client.tasks.kill({ ...this.ref, signal, all }, { timeoutMs });
  }

  /** Resolves with `RUNNING` and so on. */
  async state(timeoutMs = 60_000): Promise<string> {
    const { process } = await this.client.tasks.get(this.ref, { timeoutMs });
    return Status[process?.status ?? Status.UNKNOWN];
  }

  async resize(width: number, height: number): Promise<void> {
    await this.client.tasks.resizePty({ ...this.ref, width, height });
  }

  /** Closes our ends of the streams. */
  closeStreams(): void {
    if (this.#stdin !== undefined) closeSync(this.#stdin);
    this.#stdin = undefined;
    this.stdout?.close();
    this.stderr?.close();
  }

  get #name(): string {
    return `container ${this.containerId}${this.execId && ` exec ${this.execId}`}`;
  }
}

/** An exec. */
export class TaskExec extends TaskProcess {
  static async add(task: Task, id: string, process: OciProcess, streams: Streams): Promise<TaskExec> {
    const { client, containerId, directory } = task;
    // An id can be reused, and a refused exec leaves its FIFOs: create a new directory each time.
    await mkdir(directory, { recursive: true });
    const exec = new TaskExec(client, containerId, id, await mkdtemp(join(directory, `${id}-`)), streams);
    await exec.makeStreams();
    const { terminal = false } = streams;
    await client.tasks.exec({
      ...{ containerId, execId: id, ...exec.paths, terminal },
      spec: ociAny("Process", { ...process, terminal }),
    });
    return exec;
  }

  async delete(): Promise<number> {
    const { exitStatus } = await this.client.tasks.deleteProcess(this.ref);
    this.closeStreams();
    return exitStatus;
  }
}

export interface TaskSettings extends Streams {
  readonly id: string;
  readonly runtime: string;
  readonly args: readonly string[];
  readonly configPath?: string | undefined;
  readonly edit?: ((spec: Spec) => void) | undefined;
  /** The client's timeout for Create. Default 90 s. */
  readonly createWithinMs?: number;
}

/** The defaults of an exec: root without limits, as `ctr tasks exec` sets them. */
const EXEC_DEFAULTS: Omit<OciProcess, "args"> = {
  cwd: "/",
  env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  user: { uid: 0, gid: 0 },
};

/** A container with its task. */
export class Task extends TaskProcess {
  #execs = 0;

  /** Creates record, root file system and task; nothing runs before `start`. On failure nothing is left. */
  static async create(client: ContainerdClient, settings: TaskSettings): Promise<Task> {
    const { id, runtime, args, configPath, edit, createWithinMs = 90_000, ...streams } = settings;
    const task = new Task(client, id, "", await mkdtemp(join(tmpdir(), "hull-task-")), streams);
    const { terminal = false } = streams;
    const record = client.record({
      id,
      runtime,
      configPath,
      edit: (spec) => {
        spec.process.args = [...args];
        spec.process.terminal = terminal;
        edit?.(spec);
      },
    });
    const rootfs = await record.catch(async (error: unknown) => {
      await rm(task.directory, { recursive: true, force: true }); // the id belongs to another container's record
      throw error;
    });
    try {
      await task.makeStreams();
      const request = { containerId: id, rootfs, ...task.paths, terminal };
      await client.tasks.create(request, { timeoutMs: createWithinMs });
    } catch (error) {
      await task.#forget();
      throw error;
    }
    return task;
  }

  /** Registers an exec of the given (or the next free) id. */
  exec(
    process: readonly string[] | OciProcess,
    { id, ...streams }: Streams & { id?: string } = {},
  ): Promise<TaskExec> {
    this.#execs += 1;
    const oci = "args" in process ? process : { args: [...process] };
    return TaskExec.add(this, id ?? `e${this.#execs}`, { ...EXEC_DEFAULTS, ...oci }, streams);
  }

  /** Runs an exec, waits for its exit and deletes it. */
  async run(process: readonly string[] | OciProcess, streams?: Streams): Promise<Ended> {
    const exec = await this.exec(process, streams);
    try {
      await exec.start();
      return await exec.ended();
    } finally {
      await exec.delete();
    }
  }

  sh(script: string, streams?: Streams): Promise<Ended> {
    return this.run(["sh", "-c", script], streams);
  }

  /** Kills what runs, waits for it, and removes task, record and root file system. */
  async remove(): Promise<void> {
    const { containerId } = this;
    const state = await this.state().catch(() => "GONE");
    if (state !== "GONE") {
      if (state === "PAUSED") await this.client.tasks.resume({ containerId });
      if (state !== "STOPPED") await this.kill(9).catch(ignoreEnded);
      if (state !== "CREATED" && state !== "STOPPED") await this.exited();
      await this.client.tasks.delete({ containerId });
    }
    await this.#forget();
  }

  /** Removes the record of a container whose task is gone. */
  async #forget(): Promise<void> {
    this.closeStreams();
    await this.client.removeRecord(this.containerId);
    await rm(this.directory, { recursive: true, force: true });
  }
}

const NOT_FOUND = 5;

function ignoreEnded(error: unknown): void {
  if ((error as { code?: unknown }).code !== NOT_FOUND) throw error;
}
