import { TEMPLATE_PARAMETER } from "../../../src/core/template-parameter.ts";
import { readText } from "../files.ts";
import type { Sys } from "../sys.ts";

const FOLDER = "/tmp/zeros";
const MIB = 1 << 20;
/** Left for the kernel's own needs meanwhile. */
const MARGIN_MIB = 4;
/** The kernel hands out first what was in use before: what a boot leaves is found long before all is filled. */
const MOST_MIB = 192;

/** Whether this machine will be saved as a template. */
export function becomesTemplate(sys: Sys): boolean {
  return readText(sys, "/proc/cmdline").trim().split(" ").includes(TEMPLATE_PARAMETER);
}

/**
 * Fills free memory with zeros. A fifth of what a boot has touched is free at its end (the initrd, the kernel's own start-up
 * code and tables); zeros are neither saved in a template nor copied for each of its clones.
 */
export function clearFreeMemory(sys: Sys): void {
  const free = Number(/^MemFree: *(\d+) kB$/m.exec(readText(sys, "/proc/meminfo"))?.[1] ?? 0) / 1024;
  const mib = Math.min(Math.floor(free) - MARGIN_MIB, MOST_MIB);
  if (mib <= 0) return;
  sys.mkdirp(FOLDER, 0o700);
  sys.mount("zeros", FOLDER, "tmpfs", sys.MS_NOSUID | sys.MS_NODEV, `size=${mib}m`);
  const file = sys.open(`${FOLDER}/zeros`, sys.O_WRONLY | sys.O_CREAT, 0o600);
  const zeros = new Uint8Array(MIB);
  for (let count = 0; count < mib; count++) sys.write(file, zeros, 0, zeros.length);
  sys.close(file);
  sys.umount(FOLDER);
  sys.rmdir(FOLDER);
}
