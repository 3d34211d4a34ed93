import { constants } from "node:fs";
import { access } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import type { Config } from "../../config/schema/schema.ts";
import { allSettled } from "../../core/all-settled.ts";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { AGENT_PORT } from "../../core/guest-ports.ts";
import type { Ledger } from "../../core/ledger.ts";
import { undo } from "../../core/undo.ts";
import type { HostProcess } from "../../host/process-launcher.ts";
import type { ProcessUser } from "../../host/process-user.ts";
import { checkSocketPath } from "../../host/socket-path.ts";
import type { VsockDevice } from "../../hypervisor/hypervisor.ts";
import { expectGuestCall } from "../../vsock/guest-call.ts";
import { HybridVsock } from "../../vsock/hybrid.ts";
import { NativeVsock } from "../../vsock/native.ts";
import { GUEST_CID, startVsockDaemon } from "../../vsock/vhost-device-vsock.ts";
import { VmmDirectory } from "./vmm-directory.ts";

/** A pod's vsock: the VM's device and the host's side of it. */
export interface VsockBackend {
  readonly device: VsockDevice;
  /** For pod-localhost: the Unix socket to connect to the guest's ports, or `cid:<context ID>`. */
  readonly address: string;
  /** Waits for the agent, and resolves to the connection to it. */
  agent(deadline: Deadline): Promise<Socket>;
  /** Connects to a port that the guest is known to listen on. */
  connect(port: number, deadline: Deadline): Promise<Socket>;
  /** Its helper processes. */
  readonly processes: readonly HostProcess[];
  /**
   * To be called once the VM runs: afterwards only root can create entries next to the sockets, and the streams end with
   * the VMM.
   */
  seal(): Promise<void>;
  /** Stops the helpers and closes the sockets. Idempotent. */
  close(deadline: Deadline): Promise<void>;
}

/** What opening a pod's vsock needs. */
interface VsockContext {
  /** The directory of the VM's sockets. */
  readonly directory: string;
  /** `<namespace>/<pod>`. */
  readonly pod: string;
  /** The directory with lib/vsock.node and libexec/. */
  readonly installation: string;
  readonly hypervisor: Pick<Config["hypervisor"], "type" | "vsock">;
  /** The VM user; by default root. */
  readonly user?: ProcessUser | undefined;
  readonly ledger: Ledger;
  /** Returns the path of vhost-device-vsock; called only if it is needed. */
  findDaemon(): Promise<string>;
  log(message: string, fields?: Record<string, unknown>): void;
}

const VHOST_VSOCK = "/dev/vhost-vsock";

/** Opens the pod's vsock, of the configured kind, before the VM starts. Throws Unavailable. */
export async function openVsockBackend(context: VsockContext, deadline: Deadline): Promise<VsockBackend> {
  const { type, vsock } = context.hypervisor;
  if (type === "cloud-hypervisor") return await openOwn(context);
  if (vsock === "native") return openNative(context);
  // Loading the addon costs memory in every shim, so check for the device first.
  const available =
    vsock === "auto" &&
    (await access(VHOST_VSOCK, constants.W_OK).then(
      () => true,
      () => false,
    ));
  if (available) {
    try {
      return openNative(context);
    } catch (error) {
      context.log("the kernel's vsock cannot be used; vsock is served in user space", { err: error });
    }
  }
  return await openDaemon(context, deadline);
}

/** Cloud Hypervisor emulates the device and serves its socket itself. */
async function openOwn({ directory, user, ledger }: VsockContext): Promise<VsockBackend> {
  const vmmDirectory = user ? await VmmDirectory.create(join(directory, "clh"), user) : undefined;
  const socket = checkSocketPath(join(vmmDirectory?.path ?? directory, "vs"));
  const call = await expectGuestCall(socket, ledger);
  await vmmDirectory?.give(call.path);
  const vsock = new HybridVsock(socket);
  return {
    // Every VM has its own device, so the context IDs may be the same.
    device: { kind: "hybrid", cid: GUEST_CID, socket },
    address: socket,
    agent: (by) => call.answered(by),
    connect: (port, by) => vsock.connect(port, by),
    processes: [],
    seal: async () => await vmmDirectory?.seal(socket),
    close: () => call.close(),
  };
}

/** vhost-device-vsock in user space. */
async function openDaemon(context: VsockContext, deadline: Deadline): Promise<VsockBackend> {
  const { directory, pod, user, ledger } = context;
  const filter = join(context.installation, "libexec/seccomp-exec");
  const daemon = await startVsockDaemon(
    { path: await context.findDaemon(), directory, pod, user, filter },
    ledger,
    deadline,
  );
  const { hybridSocket } = daemon;
  try {
    const call = await expectGuestCall(hybridSocket, ledger);
    const vsock = new HybridVsock(hybridSocket);
    return {
      device: { kind: "vhost-user", socket: daemon.vhostUserSocket },
      address: hybridSocket,
      agent: (by) => call.answered(by),
      connect: (port, by) => vsock.connect(port, by),
      processes: [daemon.process],
      seal: async () => undefined, // VmDirectory has sealed its sockets before the VM starts
      close: async (by) => void (await allSettled([call.close(), daemon.stop(by)])),
    };
  } catch (error) {
    throw await undo(error, (by) => daemon.stop(by));
  }
}

/**
 * The kernel's vhost-vsock. The host dials, since all guests share the host's ports, and the kernel reports
 * at once if nothing listens in the guest.
 */
function openNative({ installation }: VsockContext): VsockBackend {
  try {
    const vsock = new NativeVsock(join(installation, "lib/vsock.node"));
    const { cid, fd, release } = vsock.reserveCid();
    return {
      device: { kind: "vhost", cid, fd },
      address: `cid:${cid}`,
      agent: (by) => vsock.connectUntilUp(cid, AGENT_PORT.ttrpc, by),
      connect: (port, by) => vsock.connect(cid, port, by),
      processes: [],
      // The VMM has its own copy. The kernel ends the streams of a VM when the last copy is closed, so ours would keep them
      // open beyond its end (vhost_vsock_dev_release in drivers/vhost/vsock.c).
      seal: async () => release(),
      close: async () => release(),
    };
  } catch (error) {
    throw HullError.wrap(
      `hypervisor.vsock native (load the module vhost_vsock, or choose hybrid)`,
      error,
      "Unavailable",
    );
  }
}
