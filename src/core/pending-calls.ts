/** A call that has not been answered yet. */
export interface PendingCall {
  /** What was called, and about what: `Task.Delete c1`. */
  readonly name: string;
  /** Milliseconds since it was made. */
  readonly forMs: number;
}

/** Calls under way, for the state dump. Whoever makes or serves calls notes each of them here. */
export class PendingCalls {
  readonly #calls = new Set<{ readonly name: string; readonly since: number }>();

  /** Notes a call. Returns what takes it out again. */
  begin(name: string): () => void {
    const call = { name, since: performance.now() };
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }

  /** The oldest first. */
  describe(): PendingCall[] {
    const now = performance.now();
    return [...this.#calls].map(({ name, since }) => ({ name, forMs: Math.round(now - since) }));
  }
}
