import type { Ledger } from "../core/ledger.ts";
import { type HostProcess, launch } from "../host/process-launcher.ts";
import type { ProcessUser } from "../host/process-user.ts";

interface PodLocalhostSpec {
  /** The helper's executable (native/pod-localhost.c). */
  readonly path: string;
  readonly pod: string;
  readonly netns: string;
  /** The VM's hybrid vsock socket, or `cid:<context id>` in the kernel's vsock. */
  readonly vsock: string;
  /** By which the guest knows it. */
  readonly token: string;
  /** Whom it goes on as once it has attached its BPF program; without one as a root that has no capabilities. */
  readonly user?: ProcessUser | undefined;
}

/**
 * Starts the helper that gives connections to localhost in the pod's namespace to the guest, whatever their port: what
 * port-forward does. Where the kernel lacks BPF socket lookup (before Linux 5.9) it ends at once, saying so.
 */
export async function startPodLocalhost(spec: PodLocalhostSpec, ledger: Ledger): Promise<HostProcess> {
  const { path, pod, netns, vsock, user, token } = spec;
  const argv = [path, vsock, ...(user ? [String(user.id)] : [])] as [string, ...string[]];
  // Not an argument, which everybody may read.
  const env = { HULL_FORWARD_TOKEN: token };
  return await launch({ role: "pod-localhost", argv, pod, netns, env }, ledger);
}
