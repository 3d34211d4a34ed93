/**
 * What an object is doing at this moment, as JSON has it, for the state dump (SIGUSR1). `describe()` methods give one;
 * they read, wait for nothing and change nothing.
 */
export type Snapshot = Readonly<Record<string, unknown>>;
