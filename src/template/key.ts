import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { HullError } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import type { VmSpec } from "../hypervisor/hypervisor.ts";

/** Counts changes of what a template's folder holds, or of what a clone expects of the guest. */
export const TEMPLATE_FORMAT = 2;

/** What a template was made of, for people; everything that a clone depends on goes into the key. */
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
  /** What else shapes the machine, in the order of VmSpec. */
  readonly settings: readonly unknown[];
  readonly extraArgs: readonly string[];
}

/**
 * The name of the template that fits a machine: a hash of all that matters to a clone. Files count by identity, size
 * and change times instead of by content, which would cost 60 ms a start: ctime cannot be set back, so a file that was
 * written to has another key. The host's boot id is in it because the CPU and its clocks are not the same afterwards.
 */
export async function templateKey(hypervisor: string, spec: VmSpec): Promise<string> {
  const [boot, vmm, kernel, initrd] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "latin1"),
    ...[spec.path, spec.kernel, spec.initrd].map(fileIdentity),
  ]);
  const made = [TEMPLATE_FORMAT, VERSION, boot, vmm, kernel, initrd, templateFacts(hypervisor, spec)];
  return createHash("sha256").update(JSON.stringify(made)).digest("hex").slice(0, 32);
}

export function templateFacts(hypervisor: string, spec: VmSpec): TemplateFacts {
  const { kernel, initrd, machine, accel, cpuModel, vcpus, memoryMib, kernelParams, extraArgs } = spec;
  const { cpuFeatures, freePageReporting, entropySource, block, seccomp, growth } = spec;
  const settings = [cpuFeatures, freePageReporting, entropySource, block, seccomp, growth].map(
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
