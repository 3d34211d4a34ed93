import { join } from "node:path";
import { allSettled } from "../core/all-settled.ts";
import type { Deadline } from "../core/deadline.ts";
import type { Ledger } from "../core/ledger.ts";
import type { VsockDevice } from "../hypervisor/hypervisor.ts";
import { expectGuestCall, type GuestCall } from "../vsock/guest-call.ts";
import { checkSocketPath } from "../vsock/socket-path.ts";
import { GUEST_CID, startVsockDaemon } from "../vsock/vhost-device-vsock.ts";

/** A pod's vsock: the machine's device, and the host's end of it. */
export interface GuestLink {
  readonly device: VsockDevice;
  /** The unix socket at which the guest's ports are reached. */
  readonly hybridSocket: string;
  /** The agent's call; listened for before the guest can make it. */
  readonly call: GuestCall;
  /** Resolves with the reason when the process that carries it ends; never where the VMM does that itself. */
  readonly lost: Promise<string>;
  /** Idempotent. */
  close(deadline: Deadline): Promise<void>;
}

export interface GuestLinkSpec {
  /** The pod's folder. */
  readonly directory: string;
  /** `<namespace>/<pod>`. */
  readonly pod: string;
  /** The program vhost-device-vsock; undefined where the VMM has the device and its socket itself. */
  readonly daemon: string | undefined;
}

/** Opens the pod's vsock before there is a VM. */
export async function openGuestLink(
  { directory, pod, daemon: path }: GuestLinkSpec,
  ledger: Ledger,
  deadline: Deadline,
): Promise<GuestLink> {
  if (path === undefined) {
    const socket = checkSocketPath(join(directory, "vs.sock"));
    const call = await expectGuestCall(socket, ledger);
    // Every VM has a device of its own: nobody else sees the context id.
    const device = { kind: "hybrid", cid: GUEST_CID, socket } as const;
    return { device, hybridSocket: socket, call, lost: new Promise(() => undefined), close: call.close };
  }
  const daemon = await startVsockDaemon({ path, directory, pod }, ledger, deadline);
  const { hybridSocket } = daemon;
  try {
    const call = await expectGuestCall(hybridSocket, ledger);
    return {
      device: { kind: "vhost-user", socket: daemon.vhostUserSocket },
      hybridSocket,
      call,
      lost: daemon.process.exited.then(({ reason }) => reason),
      close: async (by) => void (await allSettled([call.close(), daemon.stop(by)])),
    };
  } catch (error) {
    await daemon.stop(deadline);
    throw error;
  }
}
