import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { networkSettings } from "./guest-network.ts";
import type { IpLink } from "./ip-json.ts";
import { PhysicalNics } from "./physical-nics.ts";
import { giveBack } from "./take-nic.ts";

const link = (ifname: string, rest: Partial<IpLink> = {}): IpLink => ({
  ...{ ifname, flags: ["UP"], mtu: 1500, link_type: "ether", address: "02:00:00:00:00:01" },
  ...rest,
});
const VF = link("net1", { parentbus: "pci", parentdev: "0000:01:10.0", ifalias: "ens1v0" });
const routes = [
  { dst: "10.1.0.0/16", dev: "net1" },
  { dst: "10.2.0.0/16", dev: "eth0" },
];
const find = async (links: readonly IpLink[]) => {
  const nics = new PhysicalNics("/run/netns/none", new MemoryLedger());
  const rest = await nics.find(networkSettings({ links, routes, neighbours: [] }), links);
  return { nics, rest };
};

describe("the physical interfaces of a namespace", () => {
  it("are left to be assigned, with what leads over them", async () => {
    const { nics, rest } = await find([link("eth0"), VF]);
    assert.equal(nics.pending, true);
    assert.deepEqual(
      [rest.interfaces.map(({ name }) => name), rest.routes.map(({ destination }) => destination)],
      [["eth0"], ["10.2.0.0/16"]],
    );
    assert.deepEqual(nics.settings.interfaces, []);
  });

  it("are none if no interface has a PCI device", async () => {
    const { nics } = await find([link("eth0"), link("net1", { parentbus: "usb", parentdev: "1-1:1.0" })]);
    assert.equal(nics.pending, false);
  });

  it("are refused with an interface on top", async () => {
    await assert.rejects(find([VF, link("net1.5", { link: "net1" })]), {
      code: "FailedPrecondition",
      message: /net1\.5 is on top of net1.*physical_nics: tap/,
    });
  });
});

describe("an adapter in a ledger", () => {
  const nic = { kind: "nic", netns: "/run/netns/none", name: "net1" } as const;

  it("that is gone is not missed", async () => {
    await giveBack({ ...nic, address: "ffff:ff:1f.7" }, within(10_000));
  });

  it("that is a path is refused", async () => {
    const address = "../../../../tmp/x";
    await assert.rejects(giveBack({ ...nic, address }, within(10_000)), { code: "InvalidArgument" });
  });
});
