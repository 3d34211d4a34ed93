import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import { ignoring } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import { DeviceNodes } from "../../host/device-nodes.ts";
import type { ProcessUser } from "../../host/process-user.ts";

/**
 * The devices of the host that this user's VM needs and may not open, as nodes of its own. Root needs none but those of
 * macvtaps, which the host's /dev has by chance only.
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

/** A device that is there and that not everybody may read and write. */
async function isClosed(path: string): Promise<boolean> {
  const found = await stat(path).catch(ignoring("ENOENT"));
  return found?.isCharacterDevice() === true && (found.mode & 0o006) !== 0o006;
}
