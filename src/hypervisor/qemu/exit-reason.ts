import { printable, textOf } from "../../core/printable.ts";
import type { ProcessExit } from "../../host/process-launcher.ts";
import type { VmSpec } from "../hypervisor.ts";
import type { QmpEvents } from "./qmp-types.ts";

/**
 * Returns one sentence with the cause of a VM's end: the guest's panic, a request of guest or host, or the exit of the
 * VMM's process. Untrusted text is only used for the sentence.
 */
export function exitReason(
  exit: ProcessExit,
  shutdown: QmpEvents["SHUTDOWN"] | undefined,
  console: string,
): string {
  if (exit.requested) return `${exit.reason} (the VM was stopped)`;
  const panic = /Kernel panic - not syncing: [^\n]{0,500}/.exec(console)?.[0];
  if (panic)
    return `the guest's kernel crashed: ${panic}${/memory|System is deadlocked/i.test(panic) ? MEMORY_ADVICE : ""}`;
  if (exit.signal === null && exit.code === 0 && shutdown) {
    switch (shutdown.reason) {
      case "guest-shutdown":
        return "the guest powered off";
      case "guest-reset":
        return "the guest reset itself without a panic message (a triple fault, or a reboot)";
      case "guest-panic":
        return "the guest's kernel crashed";
      default:
        return `${exit.reason} (QEMU's reason: ${printable(textOf(shutdown.reason), 100)})`;
    }
  }
  return exit.reason;
}

const MEMORY_ADVICE = "; the guest has too little memory: raise hypervisor.default_memory";

/** Returns the remedy for a failed start according to QEMU's stderr, with a leading `; `; empty if none is known. */
export function adviceFor(stderr: string, spec: VmSpec): string {
  if (spec.accel === "kvm" && /kvm/i.test(stderr)) {
    return '; KVM cannot be used here: check /dev/kvm, or set hypervisor.accel to "auto" or "tcg"';
  }
  if (/cannot (set up|allocate) (guest )?memory|Cannot allocate memory/i.test(stderr)) {
    return `; the host cannot give the guest ${spec.memoryMib} MiB: lower the memory size or free memory`;
  }
  if (spec.user && /^setpriv: /m.test(stderr)) {
    return `; this host does not run processes as user ${spec.user.id}: set hypervisor.rootless_first_id to ids that it has, or hypervisor.rootless: false`;
  }
  if (spec.user && /Permission denied/.test(stderr)) {
    return `; QEMU runs as user ${spec.user.id}, which lacks the permission: see hypervisor.rootless`;
  }
  return "";
}
