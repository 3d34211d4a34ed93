import type { Deadline } from "../core/deadline.ts";
import { checkGuestImage, type GuestImage } from "./guest-image.ts";
import type { Hypervisor, VmSpec } from "./hypervisor.ts";

interface HypervisorChoice extends GuestImage {
  readonly type: "qemu" | "cloud-hypervisor";
  readonly accel: "auto" | "kvm" | "tcg";
  /** The VMM's executable. */
  readonly path: string;
  /** The folder that holds hull's own helpers in libexec/. */
  readonly installation: string;
}

/** A driver, and what `accel: auto` comes to on this machine. */
export interface OpenHypervisor {
  readonly driver: Hypervisor;
  readonly accel: VmSpec["accel"];
}

/** The driver that the configuration asks for; only that one is loaded. `warn` hears why KVM is not used. */
export async function openHypervisor(
  choice: HypervisorChoice,
  warn: (message: string) => void,
  deadline: Deadline,
): Promise<OpenHypervisor> {
  if (choice.type === "cloud-hypervisor") {
    const { CloudHypervisor } = await import("./cloud-hypervisor/driver.ts");
    return { driver: new CloudHypervisor(), accel: "kvm" };
  }
  await checkGuestImage(choice); // the probe below would only find that there is nothing to try
  const { Qemu } = await import("./qemu/driver.ts");
  if (choice.accel !== "auto") return { driver: new Qemu(choice.installation), accel: choice.accel };
  const { resolveAccel } = await import("./qemu/accel.ts");
  return { driver: new Qemu(choice.installation), accel: await resolveAccel({ ...choice, warn }, deadline) };
}
