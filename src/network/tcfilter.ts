/** A tap and the pod's interface whose traffic it mirrors. */
export interface TapPair {
  readonly tap: string;
  readonly interface: string;
  /** Bytes. */
  readonly mtu: number;
}

/**
 * `ip` commands that make the taps. They are persistent: the VMM attaches to them by name, which besides root only the
 * `owner` (a user's number) may do.
 */
export function addTaps(pairs: readonly TapPair[], owner?: number): string[] {
  return pairs.flatMap(({ tap, mtu }) => [
    `tuntap add dev ${tap} mode tap${owner === undefined ? "" : ` user ${owner}`}`,
    // The namespace's own stack has no business on the tap: what came from it would be mirrored to the network.
    `link set dev ${tap} mtu ${mtu} addrgenmode none up`,
  ]);
}

/**
 * `tc` commands that tie each tap to its interface: every frame that comes in on one goes out on the other
 * (tc-mirred(8)). The filter is u32, as even the smallest kernels have it; its match is true for any frame.
 */
export function mirror(pairs: readonly TapPair[]): string[] {
  const redirect = (from: string, to: string) => [
    `qdisc add dev ${from} ingress`,
    `filter add dev ${from} parent ffff: protocol all prio 1 u32 match u8 0 0 action mirred egress redirect dev ${to}`,
  ];
  return pairs.flatMap((pair) => [
    ...redirect(pair.interface, pair.tap),
    ...redirect(pair.tap, pair.interface),
  ]);
}
