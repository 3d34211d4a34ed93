/**
 * A connected byte stream for ttrpc: a Unix socket, a vsock connection, or memory in a test. Each `on` method
 * takes one listener, set once by the connection that owns the transport.
 */
export interface Transport {
  /**
   * Queues bytes, which must not be modified afterwards. False: the peer is slow, write no more until
   * `onDrain` fires.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * Calls `listener` with bytes as they arrive. They belong to the listener; the transport does not reuse
   * them.
   */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Fires when more can be written after a `write` that returned false; never from inside `write`. */
  onDrain(listener: () => void): void;
  /** Fires exactly once, with the error if there was one, even after `close()`. */
  onClose(listener: (error?: Error) => void): void;
  /** Sends what was written, as far as the peer reads it in reasonable time, then closes. */
  close(): void;
  /** Stops `onData` until `resume()`; a few more chunks may still arrive. */
  pause?(): void;
  resume?(): void;
}
