/**
 * The user that a process without any right on the host runs as. Nobody else has this number, no file belongs to it
 * and no name stands for it; its group has the same number, and it is in no other.
 */
export interface ProcessUser {
  readonly id: number;
}

/**
 * Processes and threads of one user: a VMM with hundreds of vCPUs and its helpers need a quarter of that. As in
 * native/confine.c.
 */
export const MOST_OF_A_USER = 4096;

/**
 * The arguments of setpriv(1) that make a process that user's for good: without capabilities, also in the bounding set,
 * and unable to gain any right by executing a program.
 */
export function dropTo({ id }: ProcessUser): string[] {
  return [
    ...[`--reuid=${id}`, `--regid=${id}`, "--clear-groups"],
    ...["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"],
  ];
}
