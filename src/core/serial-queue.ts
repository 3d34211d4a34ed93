/**
 * Runs asynchronous tasks of one object one after another, in the order of their arrival.
 * A task that fails does not stop the ones behind it. Readers (State, Wait, Stats ...) do not use the queue.
 */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /** Settles as `task` does, once all tasks before it have settled. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
