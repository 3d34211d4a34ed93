import { open } from "node:fs/promises";
import type { Check, Finding } from "./finding.ts";

/** Checks that the guest's kernel and initrd exist, are readable, and have the right format. */
export const guest: Check = async ({ config }) => [
  await asset("guest kernel", config.hypervisor.kernel, kernelProblem),
  await asset("guest initrd", config.hypervisor.initrd, initrdProblem),
];

async function asset(
  name: string,
  path: string,
  problemOf: (start: Buffer) => string | undefined,
): Promise<Finding> {
  const start = Buffer.alloc(8);
  let size: number;
  try {
    const handle = await open(path, "r");
    try {
      size = (await handle.stat()).size;
      await handle.read(start, 0, start.length, 0);
    } finally {
      await handle.close();
    }
  } catch (thrown) {
    const { code = String(thrown) } = thrown as NodeJS.ErrnoException;
    const detail = code === "ENOENT" ? `${path} does not exist` : `${path} cannot be read (${code})`;
    return {
      name,
      status: "fail",
      detail,
      advice: "run hack/build-guest, or set the key hypervisor.kernel or hypervisor.initrd",
    };
  }
  const problem = problemOf(start);
  return problem
    ? { name, status: "fail", detail: `${path} ${problem}`, advice: "run hack/build-guest again" }
    : { name, status: "ok", detail: `${path} (${(size / 2 ** 20).toFixed(1)} MiB)` };
}

function kernelProblem(start: Buffer): string | undefined {
  return start.subarray(0, 4).equals(Buffer.from("\x7fELF")) ? undefined : "is not an ELF file (vmlinux)";
}

/**
 * cpio "newc", or compressed by gzip, xz or zstd
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
function initrdProblem(start: Buffer): string | undefined {
  const head = start.toString("latin1");
  const known = ["070701", "070702", "\x1f\x8b", "\xfd7zXZ", "\x28\xb5\x2f\xfd"];
  return known.some((magic) => head.startsWith(magic)) ? undefined : "is not a cpio archive";
}
