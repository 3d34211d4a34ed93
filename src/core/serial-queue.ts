/**
 * Runs the asynchronous tasks of one object one after another, in order of arrival; a failure does not stop
 * the next. Readers (State, Wait, Stats ...) do not use the queue.
 */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /** Settles as `task` does. `task` starts when all tasks before it have settled. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
