import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Route } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { parseAddress, parseCidr } from "./address.ts";
import { linkUpWithMtu, newAddress, newNeighbour, newRoute, renameLink } from "./route-messages.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const indexOf = (): number => 2;
const route = (some: Partial<Route>): Route => ({
  ...{ destination: "0.0.0.0/0", gateway: "", device: "eth0", source: "", scope: "global" },
  ...{ metric: 0, onlink: false, type: "unicast", mtu: 0, nextHops: [] },
  ...some,
});

// Test vectors, written field by field from linux/rtnetlink.h, if_link.h, if_addr.h and neighbour.h.
describe("rtnetlink bodies", () => {
  it("link: MTU and up", () => {
    assert.equal(
      hex(linkUpWithMtu(2, 1450)),
      "00000000" + "02000000" + "01000000" + "01000000" + "08000400aa050000",
    );
  });

  it("link: name, NUL-terminated and padded", () => {
    assert.equal(
      hex(renameLink(3, "eth0")),
      "00000000" + "03000000" + "00000000" + "00000000" + "0900030065746830" + "00000000",
    );
  });

  it("address: v4 with broadcast, no detection of duplicates, no route", () => {
    assert.equal(
      hex(newAddress(2, parseCidr("a", "10.9.0.2/22"))),
      "02160000" +
        "02000000" +
        "080001000a090002" +
        "0800080002020000" +
        "080002000a090002" +
        "080004000a0903ff",
    );
  });

  it("address: v6", () => {
    assert.equal(
      hex(newAddress(2, parseCidr("a", "fd00:9::2/64"))),
      "0a400000" + "02000000" + "14000100fd000009000000000000000000000002" + "0800080002020000",
    );
  });

  it("route: default through an on-link gateway with metric", () => {
    assert.equal(
      hex(newRoute(route({ gateway: "10.77.0.1", onlink: true, metric: 50 }), indexOf)),
      "02000000fe030001" + "04000000" + "0800040002000000" + "080005000a4d0001" + "0800060032000000",
    );
  });

  it("route: to the link with source and MTU", () => {
    assert.equal(
      hex(
        newRoute(
          route({ destination: "10.72.0.0/16", scope: "link", source: "10.9.0.2", mtu: 1300 }),
          indexOf,
        ),
      ),
      "02100000fe03fd01" +
        "00000000" +
        "080001000a480000" +
        "0800040002000000" +
        "080007000a090002" +
        "0c0008000800020014050000",
    );
  });

  it("route: v4 through a v6 gateway", () => {
    assert.equal(
      hex(newRoute(route({ destination: "10.71.0.0/16", gateway: "fd00:9::7" }), indexOf)),
      "02100000fe030001" +
        "00000000" +
        "080001000a470000" +
        "0800040002000000" +
        "160012000a00fd0000090000000000000000000000070000",
    );
  });

  it("route: two next hops with weights", () => {
    const nextHops = [
      { gateway: "10.9.0.3", device: "eth0", weight: 2, onlink: false },
      { gateway: "10.9.0.4", device: "eth0", weight: 1, onlink: true },
    ];
    assert.equal(
      hex(newRoute(route({ destination: "10.70.0.0/16", device: "", nextHops }), indexOf)),
      "02100000fe030001" +
        "00000000" +
        "080001000a460000" +
        "24000900" +
        "1000000102000000080005000a090003" +
        "1000040002000000080005000a090004",
    );
  });

  it("route: blackhole", () => {
    assert.equal(
      hex(newRoute(route({ destination: "10.60.0.0/16", device: "", type: "blackhole" }), indexOf)),
      "02100000fe030006" + "00000000" + "080001000a3c0000",
    );
  });

  it("neighbour: permanent", () => {
    assert.equal(
      hex(newNeighbour({ address: "10.9.0.9", mac: "02:00:00:00:00:09", device: "eth0" }, indexOf)),
      "02000000" + "02000000" + "80000000" + "080001000a090009" + "0a000200020000000009" + "0000",
    );
  });

  it("refuses malformed routes", () => {
    const bad = [
      { destination: "10.0.0.0" },
      { destination: "10.0.0.0/33" },
      { destination: "x/8" },
      { type: "local" },
      { scope: "universe" },
      { device: "" },
      { source: "fd00::1" },
      { gateway: "10.0.0.256" },
      { nextHops: [{ gateway: "", device: "eth0", weight: 257, onlink: false }] },
    ];
    for (const some of bad)
      assert.throws(() => newRoute(route(some), indexOf), { code: "InvalidArgument" }, JSON.stringify(some));
  });
});

describe("addresses", () => {
  for (const [text, expected] of [
    ["::", "00".repeat(16)],
    ["::1", `${"00".repeat(15)}01`],
    ["fe80::8cd0:2aff:fe30:d180", "fe800000000000008cd02afffe30d180"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["::ffff:10.0.0.1", "00000000000000000000ffff0a000001"],
    ["255.0.10.1", "ff000a01"],
  ] as const) {
    it(`${text} is parsed`, () => assert.equal(hex(parseAddress("a", text).bytes), expected));
  }

  for (const text of [
    "",
    "1.2.3",
    "01.2.3.4",
    "1.2.3.4.5",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7:8::",
    "12345::",
    "g::",
    "1:2",
  ]) {
    it(`${JSON.stringify(text)} is refused`, () => {
      assert.throws(() => parseAddress("a", text), { code: "InvalidArgument" });
    });
  }
});
