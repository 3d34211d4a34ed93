import { access, constants } from "node:fs/promises";
import { HullError } from "../core/errors.ts";

/** The files a guest is booted from. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** Throws FailedPrecondition with a remedy if the guest's kernel or initrd cannot be read. */
export async function checkGuestImage(image: GuestImage): Promise<void> {
  for (const what of ["kernel", "initrd"] as const) {
    await access(image[what], constants.R_OK).catch((cause: unknown) => {
      throw new HullError(
        "FailedPrecondition",
        `the guest's ${what} ${image[what]} cannot be read; build the guest image or set hypervisor.${what}`,
        { cause },
      );
    });
  }
}
