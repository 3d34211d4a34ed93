/** Where a guest's vsock ports can be reached. */
export type VsockAddress =
  /** A hybrid vsock unix socket: vhost-device-vsock, Cloud Hypervisor, Firecracker. */
  { readonly kind: "hybrid"; readonly path: string };

/** The guest ports that the agent listens on. */
export const AGENT_PORT = { ttrpc: 1024, stdio: 1025, console: 1026 } as const;

/** For messages: `vsock port 1024 through /run/hull/default/p1/vs.sock`. */
export function describe(address: VsockAddress, port: number): string {
  return `vsock port ${port} through ${address.path}`;
}
