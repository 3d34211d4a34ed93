/**
 * A connected byte stream as ttrpc needs it: a unix socket, a vsock connection, two ends of memory in a test.
 * Each `on` function takes one listener, set once by the connection that owns the transport.
 */
export interface Transport {
  /**
   * Queues bytes. False says that the other end is slow: write no more before `onDrain` fires.
   * The bytes must not be changed afterwards.
   */
  write(bytes: Uint8Array): boolean;
  /** Bytes as they arrive. They belong to the listener: the transport never writes into them again. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Fires when it can take more after a `write` that answered false; never from inside `write`. */
  onDrain(listener: () => void): void;
  /** Fires exactly once, with the error if there was one, also after `close()`. */
  onClose(listener: (error?: Error) => void): void;
  /** Lets what was written go out as far as the other end takes it in reasonable time, then closes. */
  close(): void;
  /** Stops `onData` until `resume()`; a few more chunks may still come. */
  pause?(): void;
  resume?(): void;
}
