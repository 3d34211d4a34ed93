/**
 * Kernel parameters that every guest gets, before its hypervisor's and the operator's own (of two that contradict each
 * other the kernel takes the last).
 */
export const KERNEL_PARAMETERS: readonly string[] = [
  // A kernel that goes on after an oops keeps processes that never end: such a guest shall end, and say why.
  ...["console=ttyS0", "quiet", "oops=panic", "panic=-1"],
  // The crypto self-tests take a quarter of an emulated boot; a machine with one serial port need not look for more.
  ...["cryptomgr.notests", "8250.nr_uarts=1"],
  // Debian's kernel fills every page and object with zeros before the kernel itself uses it, in case of a bug that
  // reads what was never written. That is a quarter of an emulated exec, and the kernel holds one pod only.
  "init_on_alloc=0",
  // tracefs has ten thousand files: 9 MiB of every guest, and a tenth of an emulated boot.
  "initcall_blacklist=tracer_init_tracefs",
];
