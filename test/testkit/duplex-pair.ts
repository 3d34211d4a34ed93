import { Duplex } from "node:stream";

export type { Duplex } from "node:stream";

class End extends Duplex {
  peer: End | undefined;

  override _read(): void {
    // The peer's writes push.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.peer?.push(chunk);
    setImmediate(done);
  }

  override _final(done: () => void): void {
    this.peer?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.peer && !this.peer.destroyed) this.peer.push(null);
    done(error);
  }
}

/** Returns two streams, each of which reads what is written to the other. */
export function duplexPair(): [Duplex, Duplex] {
  const [one, other] = [new End(), new End()];
  one.peer = other;
  other.peer = one;
  return [one, other];
}
