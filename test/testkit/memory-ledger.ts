import type { Ledger, LedgerEntry, Resource } from "../../src/core/ledger.ts";

/** A ledger in memory: `resources` is what has been recorded and not removed. */
export class MemoryLedger implements Ledger {
  readonly #entries = new Set<{ resource: Resource }>();
  /** Everything that was ever recorded or updated, in order. */
  readonly history: Resource[] = [];

  get resources(): Resource[] {
    return [...this.#entries].map((entry) => entry.resource);
  }

  async record(resource: Resource): Promise<LedgerEntry> {
    const entry = { resource };
    this.#entries.add(entry);
    this.history.push(resource);
    return {
      update: async (changed) => {
        entry.resource = changed;
        this.history.push(changed);
      },
      forget: async () => {
        this.#entries.delete(entry);
      },
    };
  }
}
