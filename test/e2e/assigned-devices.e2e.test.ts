/** PCI devices of the host in pods. For a host with an IOMMU and spare devices, such as the lab. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, it, test } from "node:test";
import { pollUntil } from "../../src/core/poll-until.ts";
import { ContainerdClient, ociAny, type Spec } from "../testkit/containerd-client.ts";
import { IDLE } from "../testkit/cri.ts";
import { BUSYBOX } from "../testkit/ctr.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { type SparePci, sparePci } from "../testkit/spare-pci.ts";
import { Task } from "../testkit/task.ts";
import { within } from "../testkit/within.ts";
import { forEveryRunner, newestLine, RUNTIMES } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const SPARE = sparePci();
/** QEMU's NVMe controller, virtio network adapter and e1000e, for which Debian's cloud kernel has no driver. */
const [disk, adapter, foreign] = ["1b36:0010", "1af4:1041", "8086:10d3"].map((id) => SPARE.get(id));
/** Emulated KVM is slow. */
const LIMIT = { timeoutMs: 180_000 };

const MIB = 1 << 20;

/** How much memory of a process is locked, as the kernel accounts it for VFIO. */
async function lockedMib(pid: number): Promise<number> {
  return Number(/^VmLck:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

const WRITE = "test -c /dev/nvme0 && echo written | dd of=/dev/nvme0n1 bs=512 conv=sync,fsync 2>/dev/null";
const READ = "head -n 1 /dev/nvme0n1";

if (!disk || !adapter || !foreign) {
  test("assigned PCI devices", { skip: "HULL_SPARE_PCI does not name the lab's spare devices" });
} else assigned(disk, adapter, foreign);

function assigned(disk: SparePci, adapter: SparePci, foreign: SparePci): void {
  before(() => {
    execFileSync("modprobe", ["vfio-pci"]);
    for (const device of [disk, adapter, foreign]) device.bind("vfio-pci");
  });
  after(() => {
    for (const device of [disk, adapter, foreign]) device.bind("");
  });

  forEveryRunner(
    "assigned-devices",
    (runner) => {
      const flags = (...devices: SparePci[]) => devices.flatMap(({ node }) => ["--device", node]);
      const assertFree = async (device: SparePci) => {
        await pollUntil(() => device.isFree(), within(20_000, `${device.node} to be free`));
        assert.equal(device.driver, "vfio-pci");
      };
      const pod = (type: string) => [
        ...["--detach", "--annotation", `io.kubernetes.cri.container-type=${type}`],
        ...["--annotation", "io.kubernetes.cri.sandbox-id=pod"],
      ];
      const start = (id: string, more: readonly string[]) =>
        runner().ctr.call(["run", "--runtime", RUNTIMES.hull, ...more, BUSYBOX, id, ...IDLE], LIMIT);
      const exec = async (id: string, script: string) =>
        (await runner().ctr.expect(["tasks", "exec", "--exec-id", "e", id, "sh", "-c", script])).stdout;
      const remove = async (id: string) => {
        await runner().ctr.call(["tasks", "rm", "--force", id]);
        await runner().ctr.call(["containers", "rm", id]);
      };

      it("a disk is read and written by its container, and free afterwards, also for a second pod", async () => {
        const written = await runner().sh(WRITE, { ...LIMIT, flags: flags(disk) });
        assert.deepEqual([written.code, written.stdout, written.stderr], [0, "", ""]);
        await assertFree(disk);
        const read = await runner().sh(READ, { ...LIMIT, flags: flags(disk) });
        assert.deepEqual([read.code, read.stdout, read.stderr], [0, "written\n", ""]);
        await assertFree(disk);
      });

      it("a network adapter is an interface of the pod, next to a disk", async () => {
        const script =
          "for one in /sys/class/net/*; do basename $(readlink -f $one/device/driver); done; ls /dev";
        const { stdout } = await runner().sh(script, { ...LIMIT, flags: flags(adapter, disk) });
        assert.match(stdout, /^virtio_net$/m);
        assert.match(stdout, /^nvme0n1$/m);
        await assertFree(adapter);
      });

      it("only the container that asked has it, until it is deleted; then another one of the pod can", async () => {
        await start("pod", pod("sandbox"));
        try {
          assert.equal((await start("first", [...pod("container"), ...flags(disk)])).code, 0);
          assert.equal(await disk.isFree(), false);
          assert.equal(await exec("first", `${WRITE}; ${READ}`), "written\n");
          const second = await start("second", [...pod("container"), ...flags(disk)]);
          assert.match(second.stderr, /IOMMU group \d+ is in use by another process/);
          assert.equal((await start("third", pod("container"))).code, 0);
          assert.equal(await exec("third", "ls /dev | grep nvme || echo none"), "none\n");
          await remove("first");
          assert.equal(await disk.isFree(), true);
          const state = await readFile(`/run/hull/${runner().ctr.namespace}/pod/state.json`, "utf8");
          assert.doesNotMatch(state, /vfio/);
          assert.equal((await start("fourth", [...pod("container"), ...flags(disk)])).code, 0);
          assert.equal(await exec("fourth", READ), "written\n");
        } finally {
          for (const id of ["fourth", "third", "second", "first", "pod"]) await remove(id);
        }
        await assertFree(disk);
      });

      it("a device without a driver in the guest is refused, with its numbers, and given back", async () => {
        const { code, stderr } = await runner().run(["true"], { ...LIMIT, flags: flags(foreign) });
        assert.equal(code, 1);
        assert.match(stderr, /8086:10d3, class 020000\): the guest's kernel has no driver for it/);
        await assertFree(foreign);
      });

      it("a VM that has a device can grow, and the device reaches the new memory", async () => {
        const { containerd, ctr } = runner();
        const configPath = join(containerd.directory, "growing.yaml");
        const hypervisor = { default_maxmemory: 1024, template: { enable: false } };
        await writeConfig(configPath, { runtime: { static_sandbox_resource_mgmt: false }, hypervisor });
        const { rdev } = await stat(disk.node);
        const edit = (spec: Spec) => {
          spec.linux.devices = [
            { path: disk.node, type: "c", major: (rdev >> 8) & 0xfff, minor: rdev & 0xff },
          ];
        };
        const id = runner().id();
        const client = new ContainerdClient(containerd.address, ctr);
        const settings = { id, runtime: RUNTIMES.hull, args: ["sleep", "1000"], configPath, edit };
        const task = await Task.create(client, settings);
        try {
          await task.start();
          const [qemu = 0] = (await podProcesses(ctr.namespace, id)).get("qemu") ?? [];
          const before = await lockedMib(qemu);
          const limit = { memory: { limit: 512 * MIB } };
          await client.tasks.update({ containerId: id, resources: ociAny("LinuxResources", limit) });
          const added = (await lockedMib(qemu)) - before;
          assert.ok(added >= 256, `${added} MiB more are locked`);
          // Linux gives programs memory above 4 GiB first: there is the new memory.
          const copy = await task.sh(
            "cd /dev/shm; exec 2>err; dd if=/dev/urandom of=in bs=1M count=24; " +
              "dd if=in of=/dev/nvme0n1 bs=24M oflag=direct && dd if=/dev/nvme0n1 of=out bs=24M count=1 iflag=direct; " +
              "if cmp in out; then echo same; else cat err; fi",
          );
          assert.equal(copy.out, "same\n");
        } finally {
          await task.remove();
          client.close();
        }
        await assertFree(disk);
      });

      for (const victim of ["qemu", "shim"]) {
        it(`the device is free after ${victim} was killed`, async () => {
          const command = ["sh", "-c", "echo ready; exec sleep 600"];
          const task = runner().start(command, { ...LIMIT, id: victim, flags: flags(disk) });
          await task.printed("ready\n");
          assert.equal(await disk.isFree(), false);
          const { namespace } = runner().ctr;
          const processes = await podProcesses(namespace, victim);
          for (const pid of processes.get(victim) ?? []) process.kill(pid, "SIGKILL");
          await task.ended;
          await remove(victim);
          await assertFree(disk);
          const { stdout } = await runner().sh(`${WRITE}; ${READ}`, { ...LIMIT, flags: flags(disk) });
          assert.equal(stdout, "written\n");
        });
      }
    },
    ["hull"],
    newestLine(),
  );
}
