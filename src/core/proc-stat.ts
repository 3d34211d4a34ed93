/**
 * The fields of /proc/PID/stat by their numbers in proc_pid_stat(5): 1 is the pid, 2 the name, 3 the state. Empty for a
 * text that is none.
 */
export function procStatFields(stat: string): string[] {
  const open = stat.indexOf("(");
  // The name may hold spaces and brackets: count from behind its closing one.
  const close = stat.lastIndexOf(")");
  if (close < 0) return [];
  const rest = stat
    .slice(close + 2)
    .trimEnd()
    .split(" ");
  return ["", stat.slice(0, open - 1), stat.slice(open + 1, close), ...rest];
}

/** Set in a process's flags while it exits (the kernel's include/linux/sched.h). */
const PF_EXITING = 0x4;

/** Whether a process is on its way out, by its fields: it closes its descriptors before its parent is told. */
export function isExiting(fields: readonly string[]): boolean {
  return (Number(fields[9]) & PF_EXITING) !== 0;
}
