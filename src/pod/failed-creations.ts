import { undo } from "../core/undo.ts";

/**
 * Failed creations that could not be undone, by container id. The next call with the id retries, so that what they left
 * neither stays for the pod's whole life nor prevents another container of that id.
 */
export class FailedCreations {
  readonly #left = new Map<string, () => Promise<void>>();
  readonly #clearing = new Map<string, Promise<void>>();

  get ids(): readonly string[] {
    return [...this.#left.keys()];
  }

  /** Undoes, by `free`, a creation that failed for `cause`. Resolves with the error to throw. */
  async undo(id: string, cause: unknown, free: () => Promise<void>): Promise<unknown> {
    this.#left.set(id, free);
    return await undo(cause, () => this.clear(id));
  }

  /** Frees what a creation with this id left. Concurrent calls share one attempt. */
  clear(id: string): Promise<void> {
    const free = this.#left.get(id);
    if (!free) return Promise.resolve();
    const clearing =
      this.#clearing.get(id) ??
      free()
        .then(() => void this.#left.delete(id))
        .finally(() => this.#clearing.delete(id));
    this.#clearing.set(id, clearing);
    return clearing;
  }
}
