// The sources of the guest besides the agent: the list of modules, and Debian's packages.
import { join } from "node:path";
import { debianPackages } from "../debian/packages.ts";
import { ROOT } from "../run.ts";

/** The list of kernel modules that the guest needs. */
export const MODULES = join(ROOT, "guest-agent/image/modules.list");

/** The list of those that are loaded when a device needs them. */
export const MODULES_ON_DEMAND = join(ROOT, "guest-agent/image/modules-on-demand.list");

/** The guest's Debian release. */
export const SUITE = "bookworm";

/** Returns the directories of extracted packages of that release. */
export const guestPackages = (names: readonly string[]): string[] => debianPackages(SUITE, names);
