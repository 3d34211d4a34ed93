import { undo } from "../core/undo.ts";

/**
 * What creations that failed have left since undoing them failed, too, by the container's id. Whoever calls next about
 * the id tries again: it must not be left for the pod's whole life, nor be in the way of another container of that id.
 */
export class HalfMade {
  readonly #left = new Map<string, () => Promise<void>>();
  readonly #trying = new Map<string, Promise<void>>();

  get ids(): readonly string[] {
    return [...this.#left.keys()];
  }

  /** Undoes a creation that has failed for `cause` by `free`. Resolves with the error to throw. */
  async undo(id: string, cause: unknown, free: () => Promise<void>): Promise<unknown> {
    this.#left.set(id, free);
    return await undo(cause, () => this.clear(id));
  }

  /** Frees what is left of the id. Calls at the same time share one try. */
  clear(id: string): Promise<void> {
    const free = this.#left.get(id);
    if (!free) return Promise.resolve();
    const trying =
      this.#trying.get(id) ??
      free()
        .then(() => void this.#left.delete(id))
        .finally(() => this.#trying.delete(id));
    this.#trying.set(id, trying);
    return trying;
  }
}
