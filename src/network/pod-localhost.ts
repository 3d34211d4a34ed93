import type { Ledger } from "../core/ledger.ts";
import { type HostProcess, launch } from "../host/process-launcher.ts";
import type { ProcessUser } from "../host/process-user.ts";

interface PodLocalhostSpec {
  /** Path of the helper (native/pod-localhost.c). */
  readonly path: string;
  readonly pod: string;
  readonly netns: string;
  /** The VM's hybrid vsock socket, or `cid:<context id>` for the kernel's vsock. */
  readonly vsock: string;
  /** By which the guest authenticates the helper. */
  readonly token: string;
  /**
   * The user it switches to after attaching its BPF program; if undefined, it stays root but without
   * capabilities.
   */
  readonly user?: ProcessUser | undefined;
}

/**
 * Starts the helper that forwards connections to localhost in the pod's namespace, on any port, to the guest:
 * what port-forward connects to. On a kernel without BPF socket lookup (before Linux 5.9) it exits at once
 * with a message.
 */
export async function startPodLocalhost(spec: PodLocalhostSpec, ledger: Ledger): Promise<HostProcess> {
  const { path, pod, netns, vsock, user, token } = spec;
  const argv = [path, vsock, ...(user ? [String(user.id)] : [])] as [string, ...string[]];
  // Not an argument, because every user can read those.
  const env = { HULL_FORWARD_TOKEN: token };
  return await launch({ role: "pod-localhost", argv, pod, netns, env }, ledger);
}
