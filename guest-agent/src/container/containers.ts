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
  /** Creations under way, by id: not to be found yet, and the id is not free either. */
  readonly #creating = new Map<string, Promise<number>>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Creates a container and returns the pid of its waiting init. When it fails the id is free again. */
  async create(request: CreateContainerRequest): Promise<number> {
    const { containerId: id, spec, stdio, blockDevices, rootDisk } = request;
    checkId("container", id);
    if (this.#containers.has(id) || this.#creating.has(id))
      throw alreadyExists(`container ${id}: already exists`);
    if (this.#containers.size + this.#creating.size >= MAX_CONTAINERS) {
      throw resourceExhausted(
        `container ${id}: the pod has ${MAX_CONTAINERS} containers; delete those that have stopped`,
      );
    }
    const container = new Container(this.#runtime, id, stdio);
    const creating = container.create(spec, blockDevices, rootDisk);
    this.#creating.set(id, creating);
    try {
      const pid = await creating;
      this.#containers.set(id, container);
      return pid;
    } finally {
      this.#creating.delete(id);
    }
  }

  /** Throws NotFound. */
  get(id: string): Container {
    const container = this.#containers.get(id);
    if (!container) throw notFound(`container ${JSON.stringify(id.slice(0, 140))}: not found`);
    return container;
  }

  /**
   * Deletes an ended or never started container and forgets it. One that is being created is awaited: the host has given
   * that up, and would never ask for what comes of it.
   */
  async delete(id: string): Promise<void> {
    await this.#creating.get(id)?.catch(() => undefined); // its failure is told to who asked for it
    await this.get(id).delete();
    this.#containers.delete(id);
  }

  /** Writes the root disks back before the VM ends. Never rejects: what does not end in time is left to the journal. */
  async releaseRootDisks(limitMs: number): Promise<void> {
    const { log } = this.#runtime;
    const release = async (container: Container): Promise<void> => {
      await container
        .releaseRootDisk(limitMs)
        .catch((error) => log("warn", `container ${container.id}: root disk: ${describe(error)}`));
    };
    await Promise.all([...this.#containers.values()].map(release));
  }
}
