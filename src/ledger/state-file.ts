import { join } from "node:path";
import { HullError } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { writeFileAtomically } from "../host/write-file-atomically.ts";

/**
 * The content of `state.json` in the pod's directory: what is needed to release a pod whose daemon is gone.
 */
interface PodRecord {
  readonly version: typeof STATE_VERSION;
  readonly namespace: string;
  readonly id: string;
  readonly resources: readonly Resource[];
}

/** The ledger's name in the pod's directory. */
export const STATE_FILE = "state.json";
/** The version of the ledger's format. */
export const STATE_VERSION = 1;

/**
 * The pod's ledger on disk. A change's promise resolves once it is on disk (written to a new file, then
 * renamed); changes that arrive during a write share the next one.
 */
export class StateFile implements Ledger {
  readonly #resources = new Map<number, Resource>();
  #next = 0;
  #writing: Promise<void> | undefined;
  #pending: Promise<void> | undefined;

  constructor(
    readonly directory: string,
    readonly namespace: string,
    readonly id: string,
    /** Called for a resource that was released but cannot be removed from the ledger. */
    readonly warn: (message: string) => void,
    /** Resources that an earlier daemon recorded. */
    before: readonly Resource[] = [],
  ) {
    for (const resource of before) this.#resources.set(this.#next++, resource);
  }

  /** The recorded resources, oldest first. */
  get resources(): Resource[] {
    return [...this.#resources.values()];
  }

  /** What is recorded, for the state dump. */
  describe(): Snapshot {
    return { writing: this.#writing !== undefined, resources: this.resources };
  }

  /** Records a resource before it is created. Rejects with Internal if that cannot be written. */
  async record(resource: Resource): Promise<LedgerEntry> {
    const key = this.#next++;
    this.#resources.set(key, resource);
    try {
      await this.#save();
    } catch (error) {
      this.#resources.delete(key); // the caller will not create it
      throw error;
    }
    return {
      update: async (changed) => {
        if (!this.#resources.has(key)) return;
        this.#resources.set(key, changed);
        await this.#save();
      },
      forget: () => this.#forgetOne(key),
    };
  }

  /** Removes resources that have been released; they are compared by identity with those of `resources`. */
  async forget(released: readonly Resource[]): Promise<void> {
    for (const [key, resource] of [...this.#resources]) {
      if (released.includes(resource)) this.#resources.delete(key);
    }
    await this.#save();
  }

  async #forgetOne(key: number): Promise<void> {
    const resource = this.#resources.get(key);
    if (!resource) return;
    this.#resources.delete(key);
    try {
      await this.#save();
    } catch (error) {
      this.#resources.set(key, resource);
      const { message } = HullError.from(error);
      this.warn(
        `${message}: a ${resource.kind} that was released stays recorded, and is released again later`,
      );
    }
  }

  #save(): Promise<void> {
    if (!this.#writing) {
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
      });
      return this.#writing;
    }
    this.#pending ??= this.#writing
      .catch(() => undefined) // the callers of that write get the error; this is another write
      .then(() => {
        this.#pending = undefined;
        return this.#save();
      });
    return this.#pending;
  }

  async #write(): Promise<void> {
    const record: PodRecord = {
      version: STATE_VERSION,
      namespace: this.namespace,
      id: this.id,
      resources: this.resources,
    };
    const path = join(this.directory, STATE_FILE);
    try {
      await writeFileAtomically(path, JSON.stringify(record));
    } catch (error) {
      throw HullError.wrap(`record the pod's resources in ${path}`, error, "Internal");
    }
  }
}
