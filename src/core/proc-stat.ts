/**
 * Returns the fields of /proc/PID/stat at their numbers in proc_pid_stat(5): 1 is the PID, 2 the name, 3 the state.
 * Returns an empty list for malformed text.
 */
export function procStatFields(stat: string): string[] {
  const open = stat.indexOf("(");
  // The name may contain spaces and parentheses.
  const close = stat.lastIndexOf(")");
  if (close < 0) return [];
  const rest = stat
    .slice(close + 2)
    .trimEnd()
    .split(" ");
  return ["", stat.slice(0, open - 1), stat.slice(open + 1, close), ...rest];
}

/** The flag of a process that is exiting (the kernel's include/linux/sched.h). */
const PF_EXITING = 0x4;

/** Returns whether a process with these fields is exiting. It may already have closed its descriptors, but not be a zombie. */
export function isExiting(fields: readonly string[]): boolean {
  return (Number(fields[9]) & PF_EXITING) !== 0;
}
