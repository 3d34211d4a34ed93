import { alreadyExists, notFound, resourceExhausted } from "../../../src/core/errors.ts";
import type { CreateContainerRequest } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { describe } from "../log.ts";
import { checkId } from "../names.ts";
import { Container } from "./container.ts";
import type { Runtime } from "./runtime.ts";

const MAX_CONTAINERS = 256;

/** The containers of the pod, by id. */
export class Containers {
  readonly #runtime: Runtime;
  readonly #containers = new Map<string, Container>();
  /** Pending creates by id: `get` does not find them yet, but the id is taken. */
  readonly #creating = new Map<string, Promise<number>>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Creates a container and returns the PID of its waiting init. On failure the id is free again. */
  async create(request: CreateContainerRequest): Promise<number> {
    const { containerId: id, spec, stdio } = request;
    checkId("container", id);
    if (this.#containers.has(id) || this.#creating.has(id))
      throw alreadyExists(`container ${id}: already exists`);
    if (this.#containers.size + this.#creating.size >= MAX_CONTAINERS) {
      throw resourceExhausted(
        `container ${id}: the pod has ${MAX_CONTAINERS} containers; delete those that have stopped`,
      );
    }
    const container = new Container(this.#runtime, id, stdio);
    const creating = container.create(spec, request);
    this.#creating.set(id, creating);
    try {
      const pid = await creating;
      this.#containers.set(id, container);
      return pid;
    } finally {
      this.#creating.delete(id);
    }
  }

  /** Returns a container. Throws NotFound. */
  get(id: string): Container {
    const container = this.#containers.get(id);
    if (!container) throw notFound(`container ${JSON.stringify(id.slice(0, 140))}: not found`);
    return container;
  }

  /**
   * Deletes a container that has stopped or was never started. Waits for a pending create first: the host has
   * cancelled that call and would not delete the container later.
   */
  async delete(id: string): Promise<void> {
    await this.#creating.get(id)?.catch(() => undefined); // the caller of create gets its error
    await this.get(id).delete();
    this.#containers.delete(id);
  }

  /**
   * Unmounts the root disks before power-off. Never rejects: after a timeout, recovery is up to the file
   * system's journal.
   */
  async releaseRootDisks(timeoutMs: number): Promise<void> {
    const { log } = this.#runtime;
    const release = async (container: Container): Promise<void> => {
      await container
        .releaseRootDisk(timeoutMs)
        .catch((error) => log("warn", `container ${container.id}: root disk: ${describe(error)}`));
    };
    await Promise.all([...this.#containers.values()].map(release));
  }
}
