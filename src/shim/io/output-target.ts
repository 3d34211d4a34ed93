/** Where one output stream of a process goes on the host. */
export interface OutputTarget {
  /**
   * Hands one chunk over and calls `done` once its memory may be used again. Only one write at a time.
   * After a failure every further write fails too.
   */
  write(chunk: Uint8Array, done: (error?: Error) => void): void;
  /** No more will come: whoever reads the other end sees end of file after all that was written. Idempotent. */
  close(): void;
  /** Closes at once, even if somebody could still come for what was written. Idempotent. */
  abandon?(): void;
}
