import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildOnce, keyOf } from "../../hack/lib/cache.ts";
import type { Tools } from "./tools.ts";

/**
 * In QEMU's helper_vmrun, the three stores for an event of the type INTR: the vector in cpu->exception_index, then 0 in
 * env->exception_is_int and -1 in env->exception_next_eip. Another order or other registers belong to other event types.
 */
const STORES = /\x89\xb3..\xff\xff(?=\xc7\x83..\0\0\0\0\0\0\x48\xc7\x83..\0\0\xff\xff\xff\xff)/gs;
/** One instruction that does nothing, of the same length as the first store. */
const NOTHING = "\x66\x0f\x1f\x44\0\0";

/**
 * Returns the program of a QEMU without the store of the vector.
 *
 * The interrupt has already been delivered when helper_vmrun returns, but the vector is left in cpu->exception_index. If the CPU's
 * loop is left before the next exception or exit of the guest, QEMU delivers it again, as an exception and so even while the
 * guest has interrupts off, whose kernel then takes a spin lock that it holds. With icount the loop is left whenever a timer
 * expires; otherwise QEMU handles an interrupt first, which resets cpu->exception_index.
 */
export function withoutRepeatedInterrupts(program: Buffer): Buffer {
  const text = program.toString("latin1");
  const found = [...text.matchAll(STORES)];
  const [only] = found;
  if (found.length !== 1 || !only)
    throw new Error(
      `--exact-time: QEMU's helper_vmrun is not as expected (${found.length} places match); ` +
        "if this QEMU still leaves a vector in exception_index, adapt STORES in test/lab/exact-time-qemu.ts",
    );
  const fixed = Buffer.from(program);
  fixed.write(NOTHING, only.index, "latin1");
  return fixed;
}

/** Returns the path of a copy of the lab's QEMU for exact time. It finds its firmware relative to itself. */
export function exactTimeQemu({ qemu }: Tools): string {
  const usr = join(qemu, "../..");
  const key = keyOf(qemu, readFileSync(import.meta.filename, "utf8"));
  const built = buildOnce("lab-qemu", key, (_, result) => {
    mkdirSync(join(result, "bin"), { recursive: true });
    for (const name of ["share", "lib"]) symlinkSync(join(usr, name), join(result, name));
    const copy = join(result, "bin/qemu-system-x86_64");
    writeFileSync(copy, withoutRepeatedInterrupts(readFileSync(qemu)));
    chmodSync(copy, 0o755);
  });
  return join(built, "bin/qemu-system-x86_64");
}
