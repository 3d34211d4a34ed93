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

/**
 * Short, since every case that needs it waits for it; treating a guest as crashed too early does no harm
 * here.
 */
const KILL_TIMEOUT_MS = 500;
/** Timeout of Create, and of the boot, in the configurations with an unresponsive guest. */
const UNRESPONSIVE_TIMEOUT = "5s";
/** How long an immediate exit, or one after `KILL_TIMEOUT_MS`, may take on a busy machine. */
const END_MARGIN_MS = 30_000;
const STATE_LIMIT_MS = 15_000;
/** Maximum size of a case's output in containerd's log. */
const LOG_LIMIT = 256 << 10;
/** A container has six events; one with execs and OOM kills has some more. */
const EVENTS_LIMIT = 100;
/** Control characters, which must not appear in errors and log lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f]/;

/** The configurations of the suite, each with the hostile guest. */
type Kind = "usual" | "noHello" | "noCreate";

/** A containerd whose pods all have a hostile guest; one of them behaves honestly. */
export class HostilePods {
  readonly #configs = new Map<Kind, string>();
  /** The events of all pods. */
  readonly events: TaskEvents;
  #count = 0;
  #honest: Task | undefined;

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
    pods.#honest = await pods.task({});
    await pods.#honest.start();
    return pods;
  }

  get scope(): LeakScope {
    return { namespace: this.client.namespace, directory: this.containerd.directory };
  }

  get honest(): Task {
    assert.ok(this.#honest);
    return this.#honest;
  }

  /** Creates a container in its own pod; `behaviour` selects its guest's behaviour. */
  task({
    behaviour,
    config = "usual",
    ...streams
  }: { behaviour?: string; config?: Kind } & Partial<TaskSettings>): Promise<Task> {
    this.#count += 1;
    return Task.create(this.client, {
      ...{ id: `p${this.#count}`, runtime: "io.containerd.hull.v2", args: ["sleep", "100000"] },
      configPath: this.#configs.get(config),
      edit: ({ process }) => {
        if (behaviour !== undefined) process.env = [...(process.env ?? []), `HULL_BEHAVIOUR=${behaviour}`];
      },
      ...streams,
    });
  }

  /** Starts to watch the task's shim, and the answers of this and the honest pod. */
  async watch(task: Task): Promise<ShimWatch> {
    const [shim = 0] = (await podProcesses(this.client.namespace, task.containerId)).get("shim") ?? [];
    const calls = [() => task.state(STATE_LIMIT_MS), () => this.honest.state(STATE_LIMIT_MS)];
    return await ShimWatch.begin(shim, calls);
  }

  /**
   * Runs a case. Nothing of it may be left, the honest pod must work, and the log must be short and
   * printable.
   */
  async guarded(run: () => Promise<void>): Promise<string> {
    const before = await snapshot(this.scope);
    const log = join(this.containerd.directory, "containerd.log");
    const { size: begin } = await stat(log);
    const events = this.events.seen.length;
    await run();
    await assertNoLeaks(before, this.scope);
    assert.equal(await this.honest.state(STATE_LIMIT_MS), "RUNNING");
    assert.deepEqual(this.events.of(this.honest.containerId), ["create", "start"]);
    assert.ok(this.events.seen.length - events < EVENTS_LIMIT, "too many events");
    const added = (await readFile(log)).subarray(begin).toString("utf8");
    assert.ok(added.length < LOG_LIMIT, `${added.length} bytes in the log`);
    assertPrintable(added);
    return added;
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
      noCreate: { hypervisor, runtime: { ...runtime, create_container_timeout: UNRESPONSIVE_TIMEOUT } },
      noHello: {
        hypervisor: {
          ...hypervisor,
          template: { enable: false },
          kernel_params: ["hull_behaviour=silent:hello"],
        },
        agent: { boot_timeout: UNRESPONSIVE_TIMEOUT },
      },
    };
    for (const [kind, changes] of Object.entries(kinds)) {
      const file = join(this.directory, `${kind}.yaml`);
      await writeConfig(file, changes);
      this.#configs.set(kind as Kind, file);
    }
  }
}

/** Awaits a call that may fail, but only with a printable message. */
export async function mayFail(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => assertPrintable(textOf(error)));
}

/** Kills the container, whatever its guest does. Resolves with its exit status. */
export async function kill(task: Task): Promise<number> {
  const begin = performance.now();
  // The guest may report that there is nothing to kill; only the exit counts.
  await mayFail(task.kill(9, false, KILL_TIMEOUT_MS + END_MARGIN_MS));
  const status = await task.exited(KILL_TIMEOUT_MS + END_MARGIN_MS);
  assert.ok(performance.now() - begin < 2 * (KILL_TIMEOUT_MS + END_MARGIN_MS));
  return status;
}

/** Resolves with the exit status of a container that exits by itself. */
export const ended = (task: Task): Promise<number> => task.exited(END_MARGIN_MS);

/** Resolves with the message of a call that must fail; it must be printable. */
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
