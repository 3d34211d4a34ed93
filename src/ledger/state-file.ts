import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HullError } from "../core/errors.ts";
import type { Ledger, LedgerEntry, Resource } from "../core/ledger.ts";

/** Content of `state.json` in the pod's folder: what `cleanup` needs to release a pod whose daemon is gone. */
export interface PodRecord {
  readonly version: typeof STATE_VERSION;
  readonly namespace: string;
  readonly id: string;
  readonly resources: readonly Resource[];
}

export const STATE_FILE = "state.json";
export const STATE_VERSION = 1;

/**
 * The pod's ledger on disk. Every change is on disk (written aside, then renamed) before its promise resolves;
 * changes that come while a write is under way share the next one.
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
    /** Told of what stays recorded although it was released. */
    readonly warn: (message: string) => void,
    /** What an earlier daemon has recorded. */
    before: readonly Resource[] = [],
  ) {
    for (const resource of before) this.#resources.set(this.#next++, resource);
  }

  get resources(): Resource[] {
    return [...this.#resources.values()];
  }

  async record(resource: Resource): Promise<LedgerEntry> {
    const key = this.#next++;
    this.#resources.set(key, resource);
    try {
      await this.#save();
    } catch (error) {
      this.#resources.delete(key); // it will not be made
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

  /** Takes out resources that `resources` named, once they have been released. */
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
      .catch(() => undefined) // its own callers are told; this write is another
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
      await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (error) {
      throw HullError.wrap(`record the pod's resources in ${path}`, error, "Internal");
    }
  }
}
