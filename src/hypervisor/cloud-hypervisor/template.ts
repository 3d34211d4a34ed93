import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HullError } from "../../core/errors.ts";
import type { VmSpec } from "../hypervisor.ts";
import { vsockConfig } from "./vm-config.ts";

/** The largest config.json that is read. */
const MAX_CONFIG_BYTES = 1 << 20;

/**
 * Prepares `directory` for restoring one clone: symlinks to the template's state and memory, and its config.json with this
 * pod's vsock socket (see Cloud Hypervisor's docs/snapshot_restore.md). The context id stays the template's, because the
 * guest's driver has read it. Rejects with FailedPrecondition if the template has shares, NICs or disks.
 */
export async function layOutClone(template: string, directory: string, spec: VmSpec): Promise<void> {
  const config = await readConfig(join(template, "config.json"));
  for (const kind of ["fs", "net", "disks"]) {
    const devices = config[kind];
    if (Array.isArray(devices) && devices.length > 0) {
      throw new HullError(
        "FailedPrecondition",
        `VM ${spec.name}: template ${template} contains ${kind} devices; build it from a VM without shares, NICs and disks`,
      );
    }
  }
  if (spec.vsock) {
    const { socket, ...vsock } = vsockConfig(spec.name, spec.vsock);
    config.vsock = { ...vsock, ...(config.vsock as object | undefined), socket };
  }
  config.serial = { mode: "Tty" };
  await mkdir(directory, { mode: 0o700 });
  await writeFile(join(directory, "config.json"), JSON.stringify(config), { mode: 0o600 });
  for (const file of ["state.json", "memory-ranges"]) {
    await symlink(join(template, file), join(directory, file));
  }
}

async function readConfig(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw HullError.ofCallersPath("cloud-hypervisor template", error);
  });
  if (text.length > MAX_CONFIG_BYTES) throw new HullError("InvalidArgument", `${path}: larger than 1 MiB`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HullError("InvalidArgument", `${path}: not JSON`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HullError("InvalidArgument", `${path}: not a VM configuration`);
  }
  return value as Record<string, unknown>;
}
