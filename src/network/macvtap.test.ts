import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { Deadline } from "../core/deadline.ts";
import { addMacvtaps } from "./macvtap.ts";
import { PodNetwork } from "./pod-network.ts";
import { releaseNetwork } from "./release.ts";

const run = promisify(execFile);
const notRoot = process.geteuid?.() !== 0 && "needs root";

describe("macvtap", () => {
  it("lays one of the interface's MTU and MAC over it, with an index of its own", () => {
    const pair = { tap: "hull-0a1b2c-0", interface: "eth0", mtu: 9000 };
    assert.deepEqual(
      addMacvtaps([pair], () => 77_000_000),
      [
        "link add link eth0 name hull-0a1b2c-0 index 77000000 mtu 9000 type macvtap mode passthru",
        "link set dev hull-0a1b2c-0 allmulticast on addrgenmode none",
        "link set dev hull-0a1b2c-0 up",
      ],
    );
    assert.notEqual(addMacvtaps([pair])[0], addMacvtaps([pair])[0]);
  });

  describe("in a namespace", { skip: notRoot }, () => {
    const name = `hull-macvtap-${process.pid}`;
    const ip = async (...args: string[]) => (await run("ip", ["-n", name, ...args])).stdout;
    const veth = async (ifname: string) => {
      await ip("link", "add", ifname, "type", "veth", "peer", "name", `${ifname}-peer`);
      await ip("link", "set", ifname, "up");
    };
    /** Everything that a macvtap could change on its lower interface, and whether there is a macvtap. */
    const state = async () => [
      await ip("-details", "link", "show", "eth0"),
      await ip("link", "show", "type", "macvtap"),
    ];
    const open = (ledger: MemoryLedger) =>
      PodNetwork.open(
        { pod: "default/a", netns: `/run/netns/${name}`, ownPath: "/none", model: "macvtap", ledger },
        Deadline.none(),
      );

    before(async () => {
      await run("ip", ["netns", "add", name]);
      await veth("eth0");
    });
    after(async () => {
      await run("ip", ["netns", "del", name]);
    });

    it("tries a release that has failed again", async () => {
      const before = await state();
      const ledger = new MemoryLedger();
      const network = await open(ledger);
      const over = Deadline.none();
      over.cancel("timed out");
      await assert.rejects(network.release(over), /timed out/);
      assert.equal(ledger.resources.length, 1);
      await network.release(Deadline.none());
      assert.deepEqual([ledger.resources, await state()], [[], before]);
    });

    it("gives each nic the interface's MAC and a device, also of one that comes later, and leaves all as it was", async () => {
      const before = await state();
      const ledger = new MemoryLedger();
      const network = await open(ledger);
      const [first, ...none] = network.nics;
      assert.deepEqual(none, []);
      await veth("net1");
      const [later] = await network.update(Deadline.none());
      assert.deepEqual(
        network.settings.interfaces.map(({ name }) => name),
        ["eth0", "net1"],
      );
      assert.deepEqual(
        network.nics.map(({ mac }) => mac),
        network.settings.interfaces.map(({ mac }) => mac),
      );
      assert.ok(first?.device && later?.device);
      assert.equal(first.device.major, later.device.major);
      assert.notEqual(first.device.minor, later.device.minor);
      assert.deepEqual(
        ledger.resources.map(({ kind }) => kind),
        ["tap", "tap"],
      );
      await network.release(Deadline.none());
      assert.deepEqual([await state(), ledger.resources], [before, []]);
      await ip("link", "del", "net1");
    });

    it("is taken away by what the ledger holds", async () => {
      const before = await state();
      const ledger = new MemoryLedger();
      await open(ledger);
      assert.notDeepEqual(await state(), before);
      const taps = ledger.resources.filter((resource) => resource.kind === "tap");
      await releaseNetwork(taps, Deadline.none());
      assert.deepEqual(await state(), before);
    });

    it("refuses a macvlan with advice, and records nothing", async () => {
      await ip("link", "add", "link", "eth0", "name", "mv0", "type", "macvlan", "mode", "bridge");
      await ip("link", "set", "mv0", "up");
      const ledger = new MemoryLedger();
      await assert.rejects(open(ledger), {
        code: "FailedPrecondition",
        message: /mv0 is a macvlan.*set runtime\.internetworking_model: tcfilter/,
      });
      assert.deepEqual(ledger.resources, []);
      await ip("link", "del", "mv0");
    });
  });
});
