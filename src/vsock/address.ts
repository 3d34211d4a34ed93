/** Where a guest's vsock ports can be reached. */
type VsockAddress =
  /** A hybrid vsock unix socket: vhost-device-vsock, Cloud Hypervisor, Firecracker. */
  { readonly kind: "hybrid"; readonly path: string };

/** For messages: `vsock port 1024 through /run/hull/default/p1/vm/vs`. */
export function describe(address: VsockAddress, port: number): string {
  return `vsock port ${port} through ${address.path}`;
}
