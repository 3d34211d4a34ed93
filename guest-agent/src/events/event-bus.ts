import type { Event } from "../../../src/proto/generated/hull/agent/v1/agent.ts";

const MAX_PENDING = 1024;

/**
 * Passes events to every subscriber. For one that does not read, at most 1024 events are kept and later ones
 * dropped: an OOM count is a total anyway.
 */
export class EventBus {
  readonly #subscribers = new Set<Subscription>();

  /** Passes an event to every subscriber. */
  publish(event: Event): void {
    for (const subscriber of this.#subscribers) subscriber.push(event);
  }

  /** Returns the events from now on, until `return()` of the iterator or `close`. */
  subscribe(): Subscription {
    const subscription = new Subscription(() => this.#subscribers.delete(subscription));
    this.#subscribers.add(subscription);
    return subscription;
  }
}

class Subscription implements AsyncIterableIterator<Event> {
  readonly #pending: Event[] = [];
  readonly #release: () => void;
  #waiting: ((result: IteratorResult<Event>) => void) | undefined;
  #closed = false;

  constructor(release: () => void) {
    this.#release = release;
  }

  push(event: Event): void {
    if (this.#closed) return;
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      waiting({ value: event, done: false });
    } else if (this.#pending.length < MAX_PENDING) {
      this.#pending.push(event);
    }
  }

  async next(): Promise<IteratorResult<Event>> {
    const event = this.#pending.shift();
    if (event) return { value: event, done: false };
    if (this.#closed) return { value: undefined, done: true };
    return await new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Ends the stream and frees the subscription. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
    this.#waiting?.({ value: undefined, done: true });
    this.#waiting = undefined;
  }

  async return(): Promise<IteratorResult<Event>> {
    this.close();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
