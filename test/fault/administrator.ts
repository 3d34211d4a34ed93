import type { Spec } from "../testkit/containerd-client.ts";
import { type Mount, Status } from "../testkit/proto/generated/containerd/services/tasks.ts";
import { type Calls, FAR_MS } from "./calls.ts";
import type { Lane } from "./lane.ts";

/** When a container that still runs is killed again: longer than the lanes' `kill_timeout`. */
const RETRY_MS = 4_000;
export const SIGKILL = 9;

interface Wanted {
  readonly id: string;
  readonly args: readonly string[];
  readonly configPath: string;
  readonly edit?: (spec: Spec) => void;
}

/** Creates the records of a case's containers in containerd, and removes what is left of them. */
export class Administrator {
  readonly #lane: Lane;
  readonly #calls: Calls;
  readonly #records: string[] = [];

  constructor(lane: Lane, calls: Calls) {
    this.#lane = lane;
    this.#calls = calls;
  }

  /** Creates a container's record. Resolves with the mounts of its root file system. */
  async record({ edit, ...wanted }: Wanted): Promise<Mount[]> {
    const { client, installation, netns } = this.#lane;
    const rootfs = await client.record({
      ...{ id: wanted.id, configPath: wanted.configPath, runtime: installation.runtime },
      edit: (spec) => {
        spec.process.args = [...wanted.args];
        spec.process.terminal = false;
        for (const namespace of spec.linux.namespaces)
          if (namespace.type === "network") namespace.path = netns.path;
        edit?.(spec);
      },
    });
    this.#records.push(wanted.id);
    return rootfs;
  }

  /** Kills and deletes the tasks, then the records, in reverse order. Rejects if that fails. */
  async remove(): Promise<void> {
    const records = this.#records.splice(0).reverse();
    for (const id of records) await this.#removeTask(id);
    for (const id of records) await this.#lane.client.removeRecord(id);
  }

  async #removeTask(containerId: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId, execId: "" };
    const limit = Date.now() + FAR_MS;
    // As CRI does: kill before every further attempt to delete.
    let again = false;
    for (;;) {
      const { code, value } = await this.#calls.attempt("cleanup", `state of ${containerId}`, (options) =>
        tasks.get(ref, options),
      );
      if (code === "NOT_FOUND") return;
      if (Date.now() > limit) throw new Error(`task ${containerId} cannot be removed: ${code}`);
      if (again || value?.process?.status !== Status.STOPPED) {
        await this.#calls.attempt("cleanup", `kill ${containerId}`, (options) =>
          tasks.kill({ ...ref, signal: SIGKILL, all: true }, options),
        );
        // In a pod of several containers, the second SIGKILL kills the VM if the first one has no effect.
        await this.#calls.attempt("cleanup", `wait for ${containerId}`, (options) =>
          tasks.wait(ref, { ...options, timeoutMs: RETRY_MS }),
        );
      }
      await this.#calls.attempt("cleanup", `delete ${containerId}`, (options) =>
        tasks.delete({ containerId }, options),
      );
      again = true;
    }
  }

  /** Reuses an id for a pod without faults. Resolves with its container's exit status. */
  async reuse(id: string): Promise<number> {
    const { client, config, installation, namespace } = this.#lane;
    await installation.disarm({ namespace, id });
    const args = ["sh", "-c", "exit 6"];
    const rootfs = await this.record({ id, args, configPath: config("clone") });
    const limit = { timeoutMs: FAR_MS };
    await client.tasks.create({ containerId: id, rootfs }, limit);
    await client.tasks.start({ containerId: id, execId: "" }, limit);
    const { exitStatus } = await client.tasks.wait({ containerId: id, execId: "" }, limit);
    await client.tasks.delete({ containerId: id }, limit);
    return exitStatus;
  }
}
