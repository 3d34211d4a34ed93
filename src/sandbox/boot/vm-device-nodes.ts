import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import { ignoring } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import { DeviceNodes } from "../../host/device-nodes.ts";
import type { ProcessUser } from "../../host/process-user.ts";

/**
 * Creates nodes of the host's devices that this user's VM needs but may not open; undefined if there are
 * none. Root only needs those of macvtaps, which the host's /dev may lack.
 */
export async function vmDevices(
  { hypervisor, runtime }: Config,
  user: ProcessUser | undefined,
  directory: string,
  ledger: Ledger,
  deadline: Deadline,
): Promise<DeviceNodes | undefined> {
  if (!user && runtime.internetworking_model !== "macvtap") return undefined;
  const wanted = user
    ? [
        "/dev/net/tun",
        ...(hypervisor.accel === "tcg" ? [] : ["/dev/kvm"]),
        ...(hypervisor.disable_vhost_net || hypervisor.type !== "qemu" ? [] : ["/dev/vhost-net"]),
        ...(hypervisor.entropy_source === "/dev/urandom" ? [] : [hypervisor.entropy_source]),
      ]
    : [];
  const closed = await Promise.all(wanted.map(isClosed));
  const devices = wanted.filter((_, index) => closed[index]);
  return await DeviceNodes.create(join(directory, "dev"), user ?? { id: 0 }, devices, ledger, deadline);
}

/** Whether a device exists and is not world-readable and world-writable. */
async function isClosed(path: string): Promise<boolean> {
  const found = await stat(path).catch(ignoring("ENOENT"));
  return found?.isCharacterDevice() === true && (found.mode & 0o006) !== 0o006;
}
