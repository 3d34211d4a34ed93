import type { Sys } from "../sys.ts";

/** One end of a forwarded connection, with the bytes that are yet to be written to it. */
export class End {
  #queue: Uint8Array[] = [];
  #offset = 0;
  #watched = "";

  constructor(
    readonly sys: Sys,
    readonly fd: number,
  ) {}

  /** Whether everything has been written. */
  get drained(): boolean {
    return this.#queue.length === 0;
  }

  /** Queues bytes; `flush` writes them. */
  push(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#queue.push(bytes);
  }

  /** Writes as much as it can without blocking. Throws the error of write(2). */
  flush(): void {
    for (let head = this.#queue[0]; head; head = this.#queue[0]) {
      const put = this.sys.write(this.fd, head, this.#offset, head.length - this.#offset);
      if (put < 0) return;
      this.#offset += put;
      if (this.#offset < head.length) continue;
      this.#queue.shift();
      this.#offset = 0;
    }
  }

  /** Sets the events to watch for; only a change costs a system call. */
  watch(events: { read: boolean; write: boolean }, ready: () => void): void {
    const wanted = `${events.read}${events.write}`;
    if (wanted === this.#watched) return;
    this.unwatch();
    if (!events.read && !events.write) return;
    this.sys.watch(this.fd, events, ready);
    this.#watched = wanted;
  }

  unwatch(): void {
    if (this.#watched !== "") this.sys.unwatch(this.fd);
    this.#watched = "";
  }

  close(): void {
    this.unwatch();
    this.sys.close(this.fd);
  }
}
