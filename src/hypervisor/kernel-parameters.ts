/**
 * The kernel parameters of every guest. The driver's and the operator's follow and take precedence, because the kernel
 * uses the last of contradicting parameters.
 */
export const KERNEL_PARAMETERS: readonly string[] = [
  // After an oops, processes can hang forever. A panic ends the VM and is reported.
  ...["console=ttyS0", "quiet", "oops=panic", "panic=-1"],
  // The crypto self-tests take a quarter of an emulated boot; probing for more than one serial port takes time, too.
  ...["cryptomgr.notests", "8250.nr_uarts=1"],
  // Zeroing allocations, Debian's default, costs a quarter of an emulated exec, and this kernel serves one pod.
  "init_on_alloc=0",
  // tracefs has 10,000 files: 9 MiB of every guest, and a tenth of an emulated boot.
  "initcall_blacklist=tracer_init_tracefs",
  // With multipathing, the disk of an assigned NVMe controller that could have several ports is not the controller's in sysfs.
  "nvme_core.multipath=0",
  // Host bridges are in the ACPI tables. Without it, the kernel also looks for some on all 256 buses: 16,000 exits, a tenth of a
  // boot with KVM.
  "pci=lastbus=0",
];
