import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { HullError } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import type { VmSpec } from "../hypervisor/hypervisor.ts";

/** Incremented when the contents of a template or what a clone expects of the guest change. */
export const TEMPLATE_FORMAT = 2;

/** What a template was built from. People read it; the key covers everything that a clone depends on. */
export interface TemplateFacts {
  readonly hypervisor: string;
  readonly vmm: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly machine: string;
  readonly accel: string;
  readonly cpuModel: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly kernelParams: readonly string[];
  /** The rest of what determines the virtual hardware, in the order of VmSpec. */
  readonly settings: readonly unknown[];
  readonly extraArgs: readonly string[];
}

/**
 * Returns the name of the template for a VM: a hash of everything that a clone depends on. Files count by
 * identity, size and times, because hashing their contents would cost 60 ms per start. ctime cannot be set
 * back, so a rewritten file changes the key. So does a reboot of the host, after which CPU and clocks differ.
 */
export async function templateKey(hypervisor: string, spec: VmSpec): Promise<string> {
  const [boot, vmm, kernel, initrd] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "latin1"),
    ...[spec.path, spec.kernel, spec.initrd].map(fileIdentity),
  ]);
  const inputs = [TEMPLATE_FORMAT, VERSION, boot, vmm, kernel, initrd, templateFacts(hypervisor, spec)];
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 32);
}

/** Picks what a template depends on from a VM's spec. */
export function templateFacts(hypervisor: string, spec: VmSpec): TemplateFacts {
  const { kernel, initrd, machine, accel, cpuModel, vcpus, memoryMib, kernelParams, extraArgs } = spec;
  const { cpuFeatures, freePageReporting, entropySource, block, seccomp, growth, assignable } = spec;
  const settings = [cpuFeatures, freePageReporting, entropySource, block, seccomp, growth, assignable].map(
    (value) => value ?? null,
  );
  const sizes = { machine, accel, cpuModel, vcpus, memoryMib };
  return { hypervisor, vmm: spec.path, kernel, initrd, ...sizes, kernelParams, settings, extraArgs };
}

async function fileIdentity(path: string): Promise<string> {
  try {
    const real = await realpath(path);
    const { dev, ino, size, mtimeMs, ctimeMs } = await stat(real);
    return `${real} ${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  } catch (thrown) {
    throw HullError.wrap(`template: ${path}`, thrown, "FailedPrecondition");
  }
}
