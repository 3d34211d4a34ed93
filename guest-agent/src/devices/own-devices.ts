import { failedPrecondition, invalidArgument } from "../../../src/core/errors.ts";
import type { OwnDevice } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { checkPath } from "../names.ts";
import { allowing, type Sys } from "../sys.ts";
import type { ModuleLibrary } from "./module-library.ts";
import type { DeviceNode } from "./pci-device.ts";

const NAME = /^[a-z0-9-]+(\/[a-z0-9-]+)?$/;
const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;

/**
 * Returns nodes of character devices of the guest's own kernel, after loading their modules if necessary. Throws
 * InvalidArgument, or FailedPrecondition if the kernel lacks a device.
 */
export function ownDevices(
  sys: Pick<Sys, "stat">,
  modules: Pick<ModuleLibrary, "load">,
  wanted: readonly OwnDevice[],
): DeviceNode[] {
  return wanted.map(({ path, name }) => {
    checkPath("device: path", path);
    if (!NAME.test(name)) throw invalidArgument(`device ${path}: not a name below /dev`);
    if (numberOf(sys, name) === undefined) modules.load(`devname:${name}`);
    const number = numberOf(sys, name);
    if (number === undefined) {
      throw failedPrecondition(
        `device ${path}: the guest's kernel has no /dev/${name}; use a guest kernel that has it, or run this pod with runc`,
      );
    }
    return { path, type: "c", ...number };
  });
}

function numberOf(sys: Pick<Sys, "stat">, name: string): { major: number; minor: number } | undefined {
  let number: { major: number; minor: number } | undefined;
  allowing(["ENOENT", "ENOTDIR"], () => {
    const { mode, rdev } = sys.stat(`/dev/${name}`);
    // The kernel's 32-bit encoding (include/linux/kdev_t.h, new_encode_dev).
    if ((mode & S_IFMT) === S_IFCHR)
      number = { major: (rdev >> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >> 12) & 0xfff00) };
  });
  return number;
}
