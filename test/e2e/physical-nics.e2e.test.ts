/** Physical adapters and virtual functions as a pod's interfaces. For a host with an IOMMU and spare devices, such as the lab. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, it, test } from "node:test";
import { pollUntil } from "../../src/core/poll-until.ts";
import { CniNetns } from "../testkit/cni.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { SparePci, sparePci } from "../testkit/spare-pci.ts";
import { within } from "../testkit/within.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const SPARE = sparePci();
/** QEMU's virtio adapter, the e1000e on the other end of its wire, and the igb with its virtual functions. */
const [adapter, peer, igb] = ["1af4:1041", "8086:10d3", "8086:10c9"].map((id) => SPARE.get(id));
/** Emulated KVM is slow. */
const LIMIT = { timeoutMs: 180_000 };
const PEER = "10.231.7.1";

if (!adapter || !peer || !igb) {
  test("physical interfaces", { skip: "HULL_SPARE_PCI does not name the lab's spare devices" });
} else physical(adapter, peer, igb);

function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8" });
}

/** Returns the interface of a device that its driver on the host has created. */
function interfaceOf({ address }: SparePci): string {
  const directory = join("/sys/bus/pci/devices", address);
  const virtio = readdirSync(directory).find((name) => /^virtio\d+$/.test(name)) ?? "";
  return readdirSync(join(directory, virtio, "net"))[0] ?? "";
}

/** The namespace's state without what a queueing discipline derives from the MTU that the interface had when it was set up. */
async function stateOf(netns: CniNetns): Promise<string[]> {
  return (await netns.state()).map((line) => line.replace(/ quantum \d+/, ""));
}

function physical(adapter: SparePci, peer: SparePci, igb: SparePci): void {
  let vf: SparePci | undefined;
  let count = 0;

  before(() => {
    execFileSync("modprobe", ["--all", "igb", "igbvf", "e1000e", "virtio-net"]);
    for (const device of [adapter, peer, igb]) device.bind("");
    ip("addr", "add", `${PEER}/24`, "dev", interfaceOf(peer));
    ip("link", "set", interfaceOf(peer), "up");
    writeFileSync(`/sys/bus/pci/devices/${igb.address}/sriov_numvfs`, "1");
    vf = new SparePci(basename(readlinkSync(join("/sys/bus/pci/devices", igb.address, "virtfn0"))));
  });
  after(() => {
    writeFileSync(`/sys/bus/pci/devices/${igb.address}/sriov_numvfs`, "0");
    ip("addr", "flush", "dev", interfaceOf(peer));
  });

  forEveryRunner(
    "physical-nics",
    (runner) => {
      /** A namespace with a device as eth0. Afterwards the device must be as before the pod, for CNI too. */
      async function withNic(
        device: SparePci,
        step: (flags: string[], netns: CniNetns) => Promise<void>,
        kind: "assign" | "tap" = "assign",
      ) {
        const [driver, name] = [device.driver, interfaceOf(device)];
        const netns = await CniNetns.create(`hull-e2e-${process.pid}-${++count}`);
        try {
          const addresses = [{ address: "10.231.7.2/24", gateway: PEER }];
          const ipam = { type: "static", addresses, routes: [{ dst: "0.0.0.0/0", gw: PEER }] };
          await netns.add({ type: "host-device", device: name, ipam }, "eth0");
          const before = await stateOf(netns);
          const config = join(runner().containerd.directory, `physical-${kind}.yaml`);
          await writeConfig(config, { runtime: { physical_nics: kind } });
          await step(["--with-ns", `network:${netns.path}`, "--runtime-config-path", config], netns);
          await pollUntil(async () => device.driver === driver, within(30_000, `${driver} to be back`));
          assert.deepEqual(await stateOf(netns), before);
          assert.equal(
            readFileSync(`/sys/bus/pci/devices/${device.address}/driver_override`, "latin1").trim(),
            "(null)",
          );
        } finally {
          await netns.remove();
        }
        assert.equal(interfaceOf(device), name, "CNI has moved it back to the host under its name");
      }
      const inState = () => {
        const directory = `/run/hull/${runner().ctr.namespace}`;
        return existsSync(directory) ? readdirSync(directory) : [];
      };

      it("the VM has the device itself, with name, MTU, addresses and routes of its interface", async () => {
        await withNic(adapter, async (flags, netns) => {
          await netns.exec(["ip", "link", "set", "eth0", "address", "02:00:00:00:07:07", "mtu", "1400"]);
          await netns.exec(["ip", "route", "replace", "default", "via", PEER]);
          const script = `ip -o addr show eth0; ip route; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ls /sys/class/net; ping -c 2 -W 10 ${PEER}`;
          const { stdout, stderr, code } = await runner().sh(script, { ...LIMIT, flags });
          assert.equal(code, 0, `${stdout}\n${stderr}`);
          assert.match(stdout, /inet 10\.231\.7\.2\/24/);
          assert.match(stdout, /default via 10\.231\.7\.1 dev eth0/);
          assert.match(stdout, /^02:00:00:00:07:07\n1400\neth0\nlo$/m);
          assert.match(await netns.exec(["ip", "link", "show", "eth0"]), /mtu 1400/);
          await netns.exec(["ip", "link", "set", "eth0", "down"]);
          await netns.exec(["ip", "link", "set", "eth0", "address", "52:54:00:00:01:03", "mtu", "1500"]);
        });
      });

      it("a virtual function without a driver in the guest is refused, and given back", async () => {
        const function0 = vf;
        assert.ok(function0);
        ip("link", "set", interfaceOf(igb), "up", "vf", "0", "mac", "02:00:00:00:07:08", "vlan", "7");
        function0.bind("igbvf");
        await withNic(function0, async (flags) => {
          const { code, stderr } = await runner().run(["true"], { ...LIMIT, flags });
          assert.equal(code, 1);
          assert.match(stderr, /8086:10ca, class 020000\): the guest's kernel has no driver for it/);
        });
        assert.match(ip("link", "show", interfaceOf(igb)), /vf 0 .*02:00:00:00:07:08.*vlan 7/);
        function0.bind("");
      });

      it("with physical_nics: tap it is an interface like any other", async () => {
        await withNic(
          adapter,
          async (flags, netns) => {
            const command = ["sh", "-c", "echo ready; exec sleep 600"];
            const id = "tap";
            const task = runner().start(command, {
              ...LIMIT,
              id,
              flags,
            });
            await task.printed("ready\n");
            assert.match(await netns.exec(["ip", "-br", "link"]), /hull-/);
            assert.match(await netns.exec(["ip", "-br", "link"]), /eth0/);
            await runner().ctr.call(["tasks", "kill", "--signal", "KILL", id]);
            await task.ended;
          },
          "tap",
        );
      });

      for (const victim of ["qemu", "shim"]) {
        it(`the interface is back after ${victim} was killed`, async () => {
          await withNic(adapter, async (flags, netns) => {
            const command = ["sh", "-c", "echo ready; exec sleep 600"];
            const task = runner().start(command, { ...LIMIT, id: victim, flags });
            await task.printed("ready\n");
            assert.equal(adapter.driver, "vfio-pci");
            assert.doesNotMatch(await netns.exec(["ip", "-br", "link"]), /eth0/);
            const processes = await podProcesses(runner().ctr.namespace, victim);
            for (const pid of processes.get(victim) ?? []) process.kill(pid, "SIGKILL");
            await task.ended;
            await runner().ctr.call(["tasks", "rm", "--force", victim]);
            await runner().ctr.call(["containers", "rm", victim]);
            await pollUntil(() => inState().length === 0, within(30_000, "the pod's state to be gone"));
          });
        });
      }
    },
    ["hull"],
    newestLine(),
  );
}
