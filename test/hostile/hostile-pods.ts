import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { writeConfig } from "../e2e/hull-config.ts";
import { Containerd, ROOT } from "../testkit/containerd.ts";
import { ContainerdClient } from "../testkit/containerd-client.ts";
import { assertNoLeaks, type LeakScope, snapshot } from "../testkit/leaks.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { Task, type TaskSettings } from "../testkit/task.ts";
import { TaskEvents } from "../testkit/task-events.ts";
import { ShimWatch } from "./shim-watch.ts";

const run = promisify(execFile);

/** Short: every case that needs it waits for it. That the guest is believed dead early hurts nobody here. */
const KILL_TIMEOUT_MS = 500;
/** Of the container's creation, and of the boot where it is the guest that does not answer. */
const SILENT_LIMIT = "5s";
/** How long what ends at once, or after `KILL_TIMEOUT_MS`, may take on a machine that has much else to do. */
const END_MARGIN_MS = 30_000;
const STATE_LIMIT_MS = 15_000;
/** What a case may write into containerd's log. */
const LOG_LIMIT = 256 << 10;
/** A container has six; one with execs and OOM kills has some more. */
const EVENTS_LIMIT = 100;
/** What is no text for a terminal, in errors and in the log; the log's own lines end with newlines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f]/;

/** The configurations of the suite, each with the evil guest. */
type Kind = "usual" | "silentHello" | "silentCreate";

/** A containerd whose pods all have the evil guest, and one among them that is well. */
export class HostilePods {
  readonly #configs = new Map<Kind, string>();
  /** What containerd was told of all pods. */
  readonly events: TaskEvents;
  #count = 0;
  #well: Task | undefined;

  private constructor(
    readonly containerd: Containerd,
    readonly client: ContainerdClient,
    readonly directory: string,
  ) {
    this.events = new TaskEvents(client);
  }

  static async up(): Promise<HostilePods> {
    const directory = await mkdtemp("/dev/shm/hull-hostile-");
    const containerd = await Containerd.up("2");
    const ctr = await containerd.namespace(`hostile-${process.pid}`);
    const pods = new HostilePods(containerd, new ContainerdClient(containerd.address, ctr), directory);
    await pods.#configure();
    pods.#well = await pods.task({});
    await pods.#well.start();
    return pods;
  }

  get scope(): LeakScope {
    return { namespace: this.client.namespace, directory: this.containerd.directory };
  }

  get well(): Task {
    assert.ok(this.#well);
    return this.#well;
  }

  /** Creates a container in a pod of its own; `evil` is how its guest behaves from now on. */
  task({
    evil,
    config = "usual",
    ...streams
  }: { evil?: string; config?: Kind } & Partial<TaskSettings>): Promise<Task> {
    this.#count += 1;
    return Task.create(this.client, {
      ...{ id: `p${this.#count}`, runtime: "io.containerd.hull.v2", args: ["sleep", "100000"] },
      configPath: this.#configs.get(config),
      edit: ({ process }) => {
        if (evil !== undefined) process.env = [...(process.env ?? []), `HULL_EVIL=${evil}`];
      },
      ...streams,
    });
  }

  /** Looks at the task's shim from now on, and at how it and the well pod's answer. */
  async watch(task: Task): Promise<ShimWatch> {
    const [shim = 0] = (await podProcesses(this.client.namespace, task.containerId)).get("shim") ?? [];
    const calls = [() => task.state(STATE_LIMIT_MS), () => this.well.state(STATE_LIMIT_MS)];
    return await ShimWatch.begin(shim, calls);
  }

  /** Runs a case. Nothing of it may be left, the well pod must be well, and the log short and printable. */
  async guarded(run: () => Promise<void>): Promise<string> {
    const before = await snapshot(this.scope);
    const log = join(this.containerd.directory, "containerd.log");
    const { size: begin } = await stat(log);
    const events = this.events.seen.length;
    await run();
    await assertNoLeaks(before, this.scope);
    assert.equal(await this.well.state(STATE_LIMIT_MS), "RUNNING");
    assert.deepEqual(this.events.of(this.well.containerId), ["create", "start"]);
    assert.ok(this.events.seen.length - events < EVENTS_LIMIT, "too many events");
    const said = (await readFile(log)).subarray(begin).toString("utf8");
    assert.ok(said.length < LOG_LIMIT, `${said.length} bytes in the log`);
    assertPrintable(said);
    return said;
  }

  async down(): Promise<void> {
    this.events.close();
    this.client.close();
    await this.containerd.down();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #configure(): Promise<void> {
    const out = join(this.directory, "guest");
    const main = join(import.meta.dirname, "agent/main.ts");
    await run(join(ROOT, "hack/build-guest"), ["--main", main, "--out", out]);
    const hypervisor = {
      ...{ kernel: join(out, "vmlinux"), initrd: join(out, "initrd.img") },
      template: { enable: true, template_path: join(this.directory, "templates") },
    };
    const runtime = { kill_timeout: `${KILL_TIMEOUT_MS}ms` };
    const kinds = {
      usual: { hypervisor, runtime },
      silentCreate: { hypervisor, runtime: { ...runtime, create_container_timeout: SILENT_LIMIT } },
      silentHello: {
        hypervisor: {
          ...hypervisor,
          template: { enable: false },
          kernel_params: ["hull_evil=silent:hello"],
        },
        agent: { boot_timeout: SILENT_LIMIT },
      },
    };
    for (const [kind, changes] of Object.entries(kinds)) {
      const file = join(this.directory, `${kind}.yaml`);
      await writeConfig(file, changes);
      this.#configs.set(kind as Kind, file);
    }
  }
}

/** A call that may fail, if its message is fit to be shown. */
export async function mayFail(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => assertPrintable(textOf(error)));
}

/** SIGKILL ends the container whatever its guest does; answers its exit status. */
export async function kill(task: Task): Promise<number> {
  const begin = performance.now();
  // The guest may say that there is nothing to kill: what counts is the end.
  await mayFail(task.kill(9, false, KILL_TIMEOUT_MS + END_MARGIN_MS));
  const status = await task.exited(KILL_TIMEOUT_MS + END_MARGIN_MS);
  assert.ok(performance.now() - begin < 2 * (KILL_TIMEOUT_MS + END_MARGIN_MS));
  return status;
}

/** The status of a container that ends by itself. */
export const ended = (task: Task): Promise<number> => task.exited(END_MARGIN_MS);

/** The message of a call that has to fail, fit to be shown. */
export async function failure(call: Promise<unknown>): Promise<string> {
  const text = await call.then(
    () => assert.fail("the call did not fail"),
    (error: unknown) => textOf(error),
  );
  assertPrintable(text);
  return text;
}

function textOf(error: unknown): string {
  const { details, message } = error as { details?: string; message?: string };
  return details ?? message ?? String(error);
}

function assertPrintable(text: string): void {
  const at = text.search(CONTROL);
  assert.equal(at, -1, `not printable: ${JSON.stringify(text.slice(Math.max(0, at - 60), at + 60))}`);
  assert.ok(!text.includes("owned"), "a part of an escape sequence is left");
}
