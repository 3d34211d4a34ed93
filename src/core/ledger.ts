/**
 * The record of everything a pod has on the host. A resource is recorded *before* it is created, so that
 * whoever finds the record (the daemon's own teardown, or `delete` after a SIGKILL) can release all of it.
 */
export type Resource =
  /** A child process. Without a pid it was about to be started: look for its environment mark. */
  | { kind: "process"; role: string; pid?: number; startTime?: string }
  | { kind: "mount"; path: string }
  | { kind: "directory"; path: string }
  | { kind: "socket"; path: string }
  /** A loop device of this file; `device` (`/dev/loopN`) once it is known. */
  | { kind: "loop"; file: string; device?: string }
  | { kind: "tap"; netns: string; name: string }
  | { kind: "qdisc"; netns: string; device: string }
  /** A network namespace that may have taps of the pod: it could not be read when they were looked for. */
  | { kind: "netns"; path: string }
  /** The number of the user that the pod's VM runs as: its last part. It is the pod's while this is a link to its name. */
  | { kind: "user"; path: string }
  /** The group `path` in every hierarchy, with those above it, up to but without `existing`, that are empty. */
  | { kind: "cgroup"; path: string; existing: string };

/** A recorded resource: `update` when more is known of it, `forget` once it has been released. */
export interface LedgerEntry {
  update(resource: Resource): Promise<void>;
  /** Never rejects: a record that cannot be taken out (no space) stays, and releasing it once more is harmless. */
  forget(): Promise<void>;
}

/** Where resources are recorded. `record` resolves when the entry is on disk. */
export interface Ledger {
  record(resource: Resource): Promise<LedgerEntry>;
}
