/** The destination of one output stream of a process on the host. */
export interface OutputTarget {
  /**
   * Writes one chunk, and calls `done` when its memory may be reused. Only one write at a time. After an error all
   * further writes fail, too.
   */
  write(chunk: Uint8Array, done: (error?: Error) => void): void;
  /** Ends the output: readers see end of file after what was written. Idempotent. */
  close(): void;
  /** Closes at once, without waiting for a reader of what was written. Idempotent. */
  abandon?(): void;
}
