// What the guest is made of: the repository, and Debian's packages.
import { join } from "node:path";
import { debianPackages } from "../debian/packages.ts";
import { ROOT } from "../run.ts";

/** The kernel modules that the guest needs. */
export const MODULES = join(ROOT, "guest-agent/image/modules.list");

/** The directories that packages of the guest's Debian release are extracted to. */
export const guestPackages = (names: readonly string[]): string[] => debianPackages("bookworm", names);
