import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { networkSettings } from "./guest-network.ts";
import { type IpLink, parseIpAnswers } from "./ip-json.ts";

/** Printed by iproute2 6.1 in a namespace with a veth pair and one route of each kind. */
const RECORDED = readFileSync(
  new URL("../../test/fixtures/routes-of-all-kinds.jsonl", import.meta.url),
  "utf8",
);

const settings = networkSettings(parseIpAnswers(RECORDED));
const route = (destination: string) => settings.routes.find((one) => one.destination === destination);

describe("a namespace's network", () => {
  it("has its Ethernet interfaces with all addresses, and no loopback", () => {
    assert.deepEqual(settings.interfaces, [
      {
        name: "eth0",
        mac: "8e:d0:2a:30:d1:80",
        mtu: 1500,
        addresses: ["10.9.0.2/24", "fd00:9::2/64", "fe80::8cd0:2aff:fe30:d180/64"],
      },
    ]);
  });

  it("has the default routes of both families, told apart", () => {
    assert.equal(route("0.0.0.0/0")?.gateway, "10.9.0.1");
    assert.equal(route("::/0")?.gateway, "fd00:9::1");
    assert.equal(route("::/0")?.metric, 1024);
  });

  it("has gateways that no address covers, and those of the other family", () => {
    assert.equal(route("10.50.0.0/16")?.onlink, true);
    assert.equal(route("10.71.0.0/16")?.gateway, "fd00:9::7");
    assert.equal(route("10.71.0.0/16")?.metric, 50);
  });

  it("has routes that lead nowhere, without a device", () => {
    assert.deepEqual([route("10.60.0.0/16")?.type, route("10.60.0.0/16")?.device], ["blackhole", ""]);
  });

  it("has several next hops with their weights", () => {
    assert.deepEqual(route("10.70.0.0/16")?.nextHops, [
      { gateway: "10.9.0.3", device: "eth0", weight: 2, onlink: false },
      { gateway: "10.9.0.4", device: "eth0", weight: 1, onlink: false },
    ]);
    assert.equal(route("fd00:70::/64")?.nextHops.length, 2);
  });

  it("has source, scope and MTU of a route", () => {
    const { source, scope, mtu } = route("10.72.0.0/16") ?? {};
    assert.deepEqual([source, scope, mtu], ["10.9.0.2", "link", 1300]);
  });

  it("lists routes to the link before those through a gateway, and none of the local table", () => {
    const through = settings.routes.findIndex(
      ({ gateway, nextHops }) => gateway !== "" || nextHops.length > 0,
    );
    assert.ok(
      settings.routes.slice(through).every(({ gateway, nextHops }) => gateway !== "" || nextHops.length > 0),
    );
    assert.equal(route("127.0.0.0/8"), undefined);
    assert.equal(route("ff00::/8"), undefined);
  });

  it("has the permanent neighbours", () => {
    assert.deepEqual(settings.neighbours, [
      { address: "10.9.0.9", mac: "02:00:00:00:00:09", device: "eth0" },
    ]);
  });

  it("leaves out what the VM cannot have: what is down, a bridge's port, a tunnel, its own taps", () => {
    const link = (ifname: string, rest: Partial<IpLink> = {}): IpLink => ({
      ...{ ifname, flags: ["UP"], mtu: 1500, link_type: "ether", address: "02:00:00:00:00:01" },
      ...rest,
    });
    const links = [
      link("eth0"),
      link("down", { flags: [] }),
      link("port", { master: "br0" }),
      link("sit0", { link_type: "sit" }),
      link("hull-aabbcc-0"),
    ];
    const { interfaces } = networkSettings({ links, routes: [], neighbours: [] }, new Set(["hull-aabbcc-0"]));
    assert.deepEqual(
      interfaces.map(({ name }) => name),
      ["eth0"],
    );
  });

  it("gives a point-to-point address the whole length and leaves out duplicates that the kernel found", () => {
    const addr_info = [
      { family: "inet", local: "10.1.1.1", address: "10.1.1.2", prefixlen: 24 },
      { family: "inet6", local: "fd00::1", prefixlen: 64, dadfailed: true },
    ];
    const links = [
      { ifname: "a", flags: ["UP"], mtu: 1500, link_type: "ether", address: "02:00:00:00:00:01", addr_info },
    ];
    assert.deepEqual(networkSettings({ links, routes: [], neighbours: [] }).interfaces[0]?.addresses, [
      "10.1.1.1/32",
    ]);
  });
});

describe("ip's answers", () => {
  it("are distinguished when some are missing", () => {
    const { links, routes, neighbours } = parseIpAnswers('[{"ifname":"lo","flags":[]}]\n[]\n');
    assert.deepEqual([links.length, routes, neighbours], [1, [], []]);
  });

  it("that are none are refused", () => {
    assert.throws(() => parseIpAnswers("Cannot open network namespace\n"), { code: "Internal" });
  });
});
