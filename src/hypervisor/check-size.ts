import { invalidArgument } from "../core/errors.ts";
import type { VmSpec } from "./hypervisor.ts";

/** No Linux guest with an initrd boots with less. */
const LEAST_MEMORY_MIB = 32;

/** Throws InvalidArgument for a VM that is too small for any guest. */
export function checkSize({ name, vcpus, memoryMib }: Pick<VmSpec, "name" | "vcpus" | "memoryMib">): void {
  if (vcpus < 1) throw invalidArgument(`VM ${name}: vCPUs: must be at least 1, got ${vcpus}`);
  if (memoryMib < LEAST_MEMORY_MIB) {
    throw invalidArgument(
      `VM ${name}: ${memoryMib} MiB of memory is too little for a guest; set hypervisor.default_memory to ${LEAST_MEMORY_MIB} or more`,
    );
  }
}
