/**
 * An unprivileged user for one pod's processes. Its ID is not in use on the host, has no name and owns no
 * files; its only group has the same ID.
 */
export interface ProcessUser {
  readonly id: number;
}

/**
 * Limit of a user's processes and threads, as in native/confine.c. A VMM with hundreds of vCPUs and its
 * helpers need a quarter of it.
 */
export const MAX_USER_PROCESSES = 4096;

/**
 * Returns setpriv(1)'s arguments to become that user for good: no capabilities, an empty bounding set, and no
 * new privileges by exec.
 */
export function dropPrivileges({ id }: ProcessUser): string[] {
  return [
    ...[`--reuid=${id}`, `--regid=${id}`, "--clear-groups"],
    ...["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"],
  ];
}
