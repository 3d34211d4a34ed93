/** A call that has not been answered yet. */
interface PendingCall {
  /** Method and object: `Task.Delete c1`. */
  readonly name: string;
  /** Milliseconds since it began. */
  readonly forMs: number;
}

/** The pending calls of a client or server, for the state dump. */
export class PendingCalls {
  readonly #calls = new Set<{ readonly name: string; readonly since: number }>();

  /** Adds a call. The returned function removes it. */
  begin(name: string): () => void {
    const call = { name, since: performance.now() };
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }

  /** Returns the pending calls, the oldest first. */
  describe(): PendingCall[] {
    const now = performance.now();
    return [...this.#calls].map(({ name, since }) => ({ name, forMs: Math.round(now - since) }));
  }
}
