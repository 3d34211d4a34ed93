/**
 * The current state of an object, for the state dump (SIGUSR1). Contains only what JSON can represent. The `describe()`
 * methods that return it do not wait and change nothing.
 */
export type Snapshot = Readonly<Record<string, unknown>>;
