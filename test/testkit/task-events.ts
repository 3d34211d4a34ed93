import {
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from "../../src/proto/generated/containerd/events/task.ts";
import type { ContainerdClient } from "./containerd-client.ts";

/** A task event, with the fields that must be the same for all runtimes. */
interface SeenEvent {
  readonly kind: string;
  readonly containerId: string;
  /** The exec id; empty for init. */
  readonly execId: string;
  readonly status?: number;
}

type Read = (bytes: Uint8Array) => Omit<SeenEvent, "kind">;

const TOPICS: Readonly<Record<string, Read>> = {
  "/tasks/create": (bytes) => ({ containerId: TaskCreate.decode(bytes).containerId, execId: "" }),
  "/tasks/start": (bytes) => ({ containerId: TaskStart.decode(bytes).containerId, execId: "" }),
  "/tasks/exit": (bytes) => {
    const { containerId, id, exitStatus } = TaskExit.decode(bytes);
    return { containerId, execId: id === containerId ? "" : id, status: exitStatus };
  },
  "/tasks/delete": (bytes) => {
    const { containerId, id, exitStatus } = TaskDelete.decode(bytes);
    return { containerId, execId: id === containerId ? "" : id, status: exitStatus };
  },
  "/tasks/exec-added": (bytes) => TaskExecAdded.decode(bytes),
  "/tasks/exec-started": (bytes) => TaskExecStarted.decode(bytes),
  "/tasks/oom": (bytes) => ({ containerId: TaskOOM.decode(bytes).containerId, execId: "" }),
  "/tasks/paused": (bytes) => ({ containerId: TaskPaused.decode(bytes).containerId, execId: "" }),
  "/tasks/resumed": (bytes) => ({ containerId: TaskResumed.decode(bytes).containerId, execId: "" }),
};

/** The task events of a namespace, in containerd's order. */
export class TaskEvents {
  readonly seen: SeenEvent[] = [];
  readonly #namespace: string;
  readonly #stop: () => void;
  readonly #waiting = new Set<() => void>();
  #failure: unknown;

  constructor(client: ContainerdClient) {
    this.#namespace = client.namespace;
    const stream = client.events.subscribe({ filters: [`namespace==${client.namespace},topic~=^/tasks/`] });
    let stopped = false;
    this.#stop = () => {
      stopped = true;
      stream.cancel();
    };
    const follow = async () => {
      try {
        for await (const { topic, event } of stream) {
          const read = TOPICS[topic];
          if (!read || !event) throw new Error(`an event of the unknown topic ${topic}`);
          const { containerId, execId, status } = read(event.value);
          const kind = topic.slice("/tasks/".length);
          this.seen.push({ kind, containerId, execId, ...(status !== undefined && { status }) });
          for (const check of this.#waiting) check();
        }
      } catch (error) {
        if (!stopped) throw error;
      }
    };
    follow().catch((error) => {
      this.#failure = error;
    });
  }

  /** Returns the events of a container as text: `exit e1 3`. */
  of(containerId: string): string[] {
    return this.seen
      .filter((event) => event.containerId === containerId)
      .map(({ kind, execId, status }) =>
        [kind, execId, status].filter((part) => part !== "" && part !== undefined).join(" "),
      );
  }

  /** Resolves with a container's events once one of them is (or matches) `last`; rejects after `withinMs`. */
  async until(containerId: string, last: string | RegExp, withinMs = 15_000): Promise<string[]> {
    return await new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const check = () => {
        const events = this.of(containerId);
        const there = events.some((event) => (typeof last === "string" ? event === last : last.test(event)));
        if (there) finish(() => resolve(events));
      };
      const timer = setTimeout(
        () =>
          finish(() =>
            reject(new Error(`${this.#namespace}: no "${last}" among ${this.of(containerId).join(", ")}`)),
          ),
        withinMs,
      );
      this.#waiting.add(check);
      check();
    });
  }

  /** Stops. Throws the error that ended the stream, if any. */
  close(): void {
    this.#stop();
    if (this.#failure !== undefined) throw this.#failure;
  }
}
