/** A tap and the pod's interface that it is connected to. */
export interface TapPair {
  readonly tap: string;
  readonly interface: string;
  /** In bytes. */
  readonly mtu: number;
}

/**
 * `ip` commands that create persistent taps. The VMM attaches by name, which only root and `owner` (a uid)
 * may do.
 */
export function addTaps(pairs: readonly TapPair[], owner?: number): string[] {
  return pairs.flatMap(({ tap, mtu }) => [
    `tuntap add dev ${tap} mode tap${owner === undefined ? "" : ` user ${owner}`}`,
    // Without addresses: what the namespace's own stack sent would be redirected to the network.
    `link set dev ${tap} mtu ${mtu} addrgenmode none up`,
  ]);
}

/**
 * `tc` commands that connect taps and interfaces: every frame received on one is sent on the other
 * (tc-mirred(8)). The filter is u32, which even minimal kernels have; it matches every frame.
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
