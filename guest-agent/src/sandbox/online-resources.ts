import { failedPrecondition } from "../../../src/core/errors.ts";
import { readText } from "../files.ts";
import { errnoName, type Sys } from "../sys.ts";

const CPUS = "/sys/devices/system/cpu";
/**
 * The kernel manages memory in blocks of one size, 128 MiB in most guests (admin-guide/mm/memory-hotplug).
 */
const MEMORY = "/sys/devices/system/memory";
const MIB = 2 ** 20;

/** The total size of the VM. */
interface MachineSize {
  readonly vcpus: number;
  readonly memoryMib: number;
}

/**
 * Brings every CPU and memory block online that was hot-plugged. Throws FailedPrecondition if the kernel then
 * has less than `size`; the kernel's log has the reason.
 */
export function onlineResources(sys: Sys, { vcpus, memoryMib }: MachineSize): void {
  // Memory first: per-CPU data takes some.
  const blocks = onlineAll(sys, MEMORY, /^memory\d+$/, "state", { from: "offline", to: "online" });
  const mib = blocks === 0 ? 0 : blocks * blockMib(sys);
  const cpus = onlineAll(sys, CPUS, /^cpu\d+$/, "online", { from: "0", to: "1" });
  if (cpus < vcpus) throw tooFew(`${cpus} of ${vcpus} CPUs`);
  // The last block of the boot memory may be partial; hot-plugged memory comes in whole blocks.
  if (mib < memoryMib) throw tooFew(`${mib} of ${memoryMib} MiB of memory`);
}

/** The file holds a hexadecimal number. */
const blockMib = (sys: Sys) => Number(`0x${readText(sys, `${MEMORY}/block_size_bytes`).trim()}`) / MIB;

/**
 * Returns how many devices the directory has, all online now. CPU 0 has no such file: it is always online.
 */
function onlineAll(
  sys: Sys,
  directory: string,
  name: RegExp,
  file: string,
  { from, to }: { from: string; to: string },
): number {
  const devices = namesIn(sys, directory).filter((one) => name.test(one));
  for (const device of devices) {
    const path = `${directory}/${device}/${file}`;
    try {
      if (readText(sys, path).trim() === from) sys.writeFile(path, to, sys.O_WRONLY);
    } catch (error) {
      if (errnoName(error) !== "ENOENT") throw error;
    }
  }
  return devices.length;
}

/** A kernel without memory hot-plug does not have the directory. */
function namesIn(sys: Sys, directory: string): string[] {
  try {
    return sys.readdir(directory);
  } catch (error) {
    if (errnoName(error) !== "ENOENT") throw error;
    return [];
  }
}

const tooFew = (what: string) =>
  failedPrecondition(
    `the guest has ${what}: its kernel did not bring online what was hot-plugged, which requires ACPI hotplug`,
  );
