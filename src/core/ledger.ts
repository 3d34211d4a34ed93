/**
 * Something that a pod has on the host. It is recorded *before* it is created, so that teardown can release
 * everything, whether the daemon runs it or, after a SIGKILL of the daemon, `delete`.
 */
export type Resource =
  /** A child process. Without a pid it was about to be started: find it by its environment mark. */
  | { kind: "process"; role: string; pid?: number; startTime?: string }
  | { kind: "mount"; path: string }
  | { kind: "directory"; path: string }
  | { kind: "socket"; path: string }
  /** A loop device of this file; `device` (`/dev/loopN`) once it is known. */
  | { kind: "loop"; file: string; device?: string }
  /** A VFIO group (`/dev/vfio/N`) whose devices the VMM has: it closes with the VMM, and needs no other release. */
  | { kind: "vfio"; path: string; devices: readonly string[] }
  /**
   * A PCI network adapter that was taken from the host's driver and from the namespace, where its interface had this name, MAC,
   * MTU and alias.
   */
  | { kind: "nic"; netns: string; name: string; address: string; mac?: string; mtu?: number; alias?: string }
  | { kind: "tap"; netns: string; name: string }
  | { kind: "qdisc"; netns: string; device: string }
  /** A network namespace that may contain taps of the pod; it could not be read when hull looked for them. */
  | { kind: "netns"; path: string }
  /**
   * The pod's VM user; the last component of `path` is its uid. It belongs to the pod as long as `path` is a
   * symlink to the pod's name.
   */
  | { kind: "user"; path: string }
  /** The cgroup `path` in every hierarchy, and its empty ancestors below `existing`. */
  | { kind: "cgroup"; path: string; existing: string };

/** A recorded resource: `update` adds what is known later, `forget` removes the record after the release. */
export interface LedgerEntry {
  update(resource: Resource): Promise<void>;
  /** Never rejects: a record that cannot be removed (no space) stays, and releasing it again is harmless. */
  forget(): Promise<void>;
}

/** Where resources are recorded. `record` resolves once the entry is on disk. */
export interface Ledger {
  record(resource: Resource): Promise<LedgerEntry>;
}
