import { TEMPLATE_PARAMETER } from "../../../src/core/template-parameter.ts";
import { readText } from "../files.ts";
import type { Sys } from "../sys.ts";

const DIRECTORY = "/tmp/zeros";
const MIB = 1 << 20;
/** Left free for the kernel. */
const MARGIN_MIB = 4;
/** Enough: the kernel hands out recently freed pages first, so those that boot has used come early. */
const MOST_MIB = 192;

/** Returns whether this VM will be saved as a template. */
export function willBeTemplate(sys: Sys): boolean {
  return readText(sys, "/proc/cmdline").trim().split(" ").includes(TEMPLATE_PARAMETER);
}

/**
 * Fills free memory with zeros. A fifth of the memory that boot has touched is free at its end (initrd, the
 * kernel's start-up code and tables); zeros are neither saved in a template nor copied to its clones.
 */
export function clearFreeMemory(sys: Sys): void {
  const free = Number(/^MemFree: *(\d+) kB$/m.exec(readText(sys, "/proc/meminfo"))?.[1] ?? 0) / 1024;
  const mib = Math.min(Math.floor(free) - MARGIN_MIB, MOST_MIB);
  if (mib <= 0) return;
  sys.mkdirp(DIRECTORY, 0o700);
  sys.mount("zeros", DIRECTORY, "tmpfs", sys.MS_NOSUID | sys.MS_NODEV, `size=${mib}m`);
  const file = sys.open(`${DIRECTORY}/zeros`, sys.O_WRONLY | sys.O_CREAT, 0o600);
  const zeros = new Uint8Array(MIB);
  for (let count = 0; count < mib; count++) sys.write(file, zeros, 0, zeros.length);
  sys.close(file);
  sys.umount(DIRECTORY);
  sys.rmdir(DIRECTORY);
}
