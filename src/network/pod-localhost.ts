import type { Ledger } from "../core/ledger.ts";
import { type HostProcess, launch } from "../host/process-launcher.ts";

export interface PodLocalhostSpec {
  /** The helper's executable (native/pod-localhost.c). */
  readonly path: string;
  readonly pod: string;
  readonly netns: string;
  /** The VM's hybrid vsock socket, or `cid:<context id>` in the kernel's vsock. */
  readonly vsock: string;
}

/**
 * Starts the helper that gives connections to localhost in the pod's namespace to the guest, whatever their port: what
 * port-forward does. Where the kernel lacks BPF socket lookup (before Linux 5.9) it ends at once, saying so.
 */
export async function startPodLocalhost(spec: PodLocalhostSpec, ledger: Ledger): Promise<HostProcess> {
  const { path, pod, netns, vsock } = spec;
  return await launch({ role: "pod-localhost", argv: [path, vsock], pod, netns }, ledger);
}
