import { join } from "node:path";
import { after, before } from "node:test";
import { Containerd, type Line } from "../../testkit/containerd.ts";
import { ContainerdClient, type Spec, statusName } from "../../testkit/containerd-client.ts";
import { type Streams, Task, type TaskExec } from "../../testkit/task.ts";
import { TaskEvents } from "../../testkit/task-events.ts";
import { RUNTIMES, type RuntimeName } from "../fixture.ts";
import { writeConfig } from "../hull-config.ts";

/** What a case observes of a runtime; must be the same for runc and hull. */
export type Observation =
  | string
  | number
  | boolean
  | readonly Observation[]
  | { readonly [key: string]: Observation };

/** A behaviour that users of runc rely on. */
export interface ParityCase {
  readonly name: string;
  readonly run: (subject: Subject) => Promise<Observation>;
  /** Where hull differs on purpose: what it does instead, and why (see docs/limitations.md). */
  readonly hull?: { readonly does: Observation; readonly why: string };
  /** The containerd release lines it runs with; default: all. */
  readonly lines?: readonly Line[];
}

interface ContainerSettings extends Streams {
  readonly id?: string;
  readonly edit?: (spec: Spec) => void;
  /** hull's `runtime` section. */
  readonly config?: Record<string, unknown>;
}

/** A runtime behind a containerd, with a container for execs. */
export class Subject {
  readonly client: ContainerdClient;
  #events: TaskEvents;
  #host: Task | undefined;
  #count = 0;

  private constructor(
    readonly containerd: Containerd,
    readonly runtime: RuntimeName,
    client: ContainerdClient,
  ) {
    this.client = client;
    this.#events = new TaskEvents(client);
  }

  static async up(containerd: Containerd, runtime: RuntimeName): Promise<Subject> {
    const ctr = await containerd.namespace(`parity-${runtime}-${containerd.line}-${process.pid}`);
    const subject = new Subject(containerd, runtime, new ContainerdClient(containerd.address, ctr));
    subject.#host = await (await subject.create(["sleep", "100000"], { id: "host" })).start();
    return subject;
  }

  /** A running container for execs; cases must not change it. */
  get host(): Task {
    if (!this.#host) throw new Error("the subject is not up");
    return this.#host;
  }

  get events(): TaskEvents {
    return this.#events;
  }

  /** Call it after `Containerd.kill`: waits until containerd answers again, and subscribes to its events. */
  async reconnected(): Promise<void> {
    await this.client.reconnected();
    this.#events = new TaskEvents(this.client);
  }

  get line(): Line {
    return this.containerd.line;
  }

  /** Creates a container; with hull from a template, which saves the boot. */
  async create(args: readonly string[], settings: ContainerSettings = {}): Promise<Task> {
    this.#count += 1;
    const { id = `c${this.#count}`, config = {}, ...rest } = settings;
    let configPath: string | undefined;
    if (this.runtime === "hull") {
      configPath = join(this.containerd.directory, `${id}.yaml`);
      await writeConfig(configPath, { hypervisor: { template: { enable: true } }, runtime: config });
    }
    return await Task.create(this.client, { id, runtime: RUNTIMES[this.runtime], args, configPath, ...rest });
  }

  /** Runs `use` with a started container, which is removed afterwards. */
  async with<T>(
    args: readonly string[],
    use: (task: Task) => Promise<T>,
    settings: ContainerSettings = {},
  ): Promise<T> {
    const task = await this.create(args, settings);
    try {
      await task.start();
      return await use(task);
    } finally {
      await task.remove();
    }
  }

  /** Removes what is left. */
  async down(): Promise<void> {
    await this.#host?.remove().catch((error: unknown) => {
      // runc's shim of this container may be gone by now; its containerd is stopped next.
      if (this.runtime === "hull") throw error;
    });
    this.events.close();
    this.client.close();
  }
}

/** Sets up hull behind its own containerd for the cases of the calling describe. */
export function hullBehind(line: Line): () => Subject {
  let containerd: Containerd | undefined;
  let subject: Subject | undefined;
  before(async () => {
    containerd = await Containerd.up(line);
    subject = await Subject.up(containerd, "hull");
  });
  after(async () => {
    await subject?.down();
    await containerd?.down();
  });
  return () => {
    if (!subject) throw new Error("hull is not up");
    return subject;
  };
}

/** Runs `use` with an exec that is not started yet; kills it if necessary, and deletes it. */
export async function withExec<T>(
  task: Task,
  process: Parameters<Task["exec"]>[0],
  streams: Parameters<Task["exec"]>[1],
  use: (exec: TaskExec) => Promise<T>,
): Promise<T> {
  const exec = await task.exec(process, streams);
  try {
    return await use(exec);
  } finally {
    if ((await exec.state()) === "RUNNING") {
      await answer(exec.kill(9));
      await exec.exited();
    }
    await exec.delete();
  }
}

/** Resolves with "OK" or the name of the call's gRPC status. */
export async function answer(call: Promise<unknown>): Promise<string> {
  return await call.then(() => "OK", statusName);
}

/** Resolves with the part of the call's error message that `pattern` matches. */
export async function refusal(call: Promise<unknown>, pattern: RegExp): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    statusName(error);
    const { message } = error as Error;
    return pattern.exec(message)?.[0] ?? message;
  }
}
