import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tapPrefix } from "./pod-network.ts";
import { addTaps, mirror } from "./tcfilter.ts";

const PAIRS = [{ tap: "hull-0a1b2c-0", interface: "eth0", mtu: 9000 }];

describe("tcfilter", () => {
  it("makes a persistent tap of the interface's MTU", () => {
    assert.deepEqual(addTaps(PAIRS), [
      "tuntap add dev hull-0a1b2c-0 mode tap",
      "link set dev hull-0a1b2c-0 mtu 9000 addrgenmode none up",
    ]);
  });

  it("gives the tap to the user that the VMM runs as", () => {
    assert.equal(addTaps(PAIRS, 1_500_000_001)[0], "tuntap add dev hull-0a1b2c-0 mode tap user 1500000001");
  });

  it("redirects every frame from one side to the other", () => {
    const filter = "parent ffff: protocol all prio 1 u32 match u8 0 0 action mirred egress redirect dev";
    assert.deepEqual(mirror(PAIRS), [
      "qdisc add dev eth0 ingress",
      `filter add dev eth0 ${filter} hull-0a1b2c-0`,
      "qdisc add dev hull-0a1b2c-0 ingress",
      `filter add dev hull-0a1b2c-0 ${filter} eth0`,
    ]);
  });

  it("names taps after the pod, in 15 bytes even for the hundredth", () => {
    assert.match(tapPrefix("default/a"), /^hull-[0-9a-f]{6}-$/);
    assert.notEqual(tapPrefix("default/a"), tapPrefix("default/b"));
    assert.ok(`${tapPrefix("default/a")}99`.length <= 15);
  });
});
