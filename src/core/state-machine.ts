import { failedPrecondition } from "./errors.ts";

/** For each state, the states that may follow it. */
export type TransitionTable<S extends string> = Readonly<Record<S, readonly S[]>>;

/** A state that changes only along its transition table. */
export class StateMachine<S extends string> {
  #state: S;

  constructor(
    /** What has the state, for messages: `container c1`. */
    readonly subject: string,
    readonly table: TransitionTable<S>,
    initial: S,
  ) {
    this.#state = initial;
  }

  get state(): S {
    return this.#state;
  }

  is(...states: S[]): boolean {
    return states.includes(this.#state);
  }

  /** Moves to `to`. Throws FailedPrecondition if the table does not allow it. */
  transition(to: S): void {
    if (!this.table[this.#state].includes(to)) {
      throw failedPrecondition(`${this.subject}: cannot go from ${this.#state} to ${to}`);
    }
    this.#state = to;
  }

  /**
   * Throws FailedPrecondition `cannot <verb> <subject> in <state> state` unless the state is one of
   * `allowed`.
   */
  require(verb: string, ...allowed: S[]): void {
    if (!allowed.includes(this.#state)) {
      throw failedPrecondition(`cannot ${verb} ${this.subject} in ${this.#state} state`);
    }
  }
}
