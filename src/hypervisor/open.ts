import type { Deadline } from "../core/deadline.ts";
import { checkGuestImage, type GuestImage } from "./guest-image.ts";
import type { Hypervisor, VmSpec } from "./hypervisor.ts";
import type { AccelReport } from "./qemu/accel.ts";

interface HypervisorChoice extends GuestImage {
  readonly type: "qemu" | "cloud-hypervisor";
  readonly accel: "auto" | "kvm" | "tcg";
  /** The VMM's executable. */
  readonly path: string;
  /** The directory that contains hull's helpers in libexec/. */
  readonly installation: string;
}

/** A driver, and the accelerator that `accel: auto` resolves to on this host. */
export interface OpenHypervisor {
  readonly driver: Hypervisor;
  readonly accel: VmSpec["accel"];
}

/** Loads the driver that the configuration selects. Warns with the reason if `accel: auto` cannot use KVM. */
export async function openHypervisor(
  choice: HypervisorChoice,
  { warn, info }: AccelReport,
  deadline: Deadline,
): Promise<OpenHypervisor> {
  if (choice.type === "cloud-hypervisor") {
    const { CloudHypervisor } = await import("./cloud-hypervisor/driver.ts");
    return { driver: new CloudHypervisor(), accel: "kvm" };
  }
  await checkGuestImage(choice); // the probe below boots the kernel
  const { Qemu } = await import("./qemu/driver.ts");
  if (choice.accel !== "auto") return { driver: new Qemu(choice.installation), accel: choice.accel };
  const { resolveAccel } = await import("./qemu/accel.ts");
  return {
    driver: new Qemu(choice.installation),
    accel: await resolveAccel({ ...choice, warn, info }, deadline),
  };
}
