/** The second phase of a boot: the VM in fake surroundings. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeSurroundings, fakeBoot } from "../../../test/testkit/fake-boot.ts";
import { unavailable } from "../../core/errors.ts";
import { startVm } from "./start-vm.ts";
import { startSandboxVm } from "./vm.ts";

test("the VM gets its surroundings, and the VM user cannot change their names once it runs", async () => {
  const boot = await fakeBoot();
  const around = new FakeSurroundings();
  const started: string[][] = [];
  const { vm, size, helpers } = await startSandboxVm(boot, around.value, (...args) => {
    started.push([...around.steps]);
    return startVm(...args);
  });
  const [{ spec }] = around.driver.vms as [(typeof around.driver.vms)[0]];
  assert.equal(spec.name, "ns/p1");
  assert.equal(spec.netns, "/proc/self/ns/net");
  assert.deepEqual(spec.vsock, { kind: "vhost-user", socket: "/vm/vhu.sock" });
  assert.deepEqual(
    spec.shares.map(({ socket }) => socket),
    ["/vm/fs.sock"],
  );
  assert.deepEqual(
    spec.nics.map(({ tap }) => tap),
    ["tap0"],
  );
  assert.deepEqual(size, { vcpus: spec.vcpus, memoryMib: spec.memoryMib });
  assert.deepEqual(started, [["seal directory"]]);
  assert.deepEqual(around.steps, ["seal directory", "seal vsock", "remember network"]);
  assert.deepEqual(
    helpers.map(({ role }) => role),
    ["virtiofsd"],
  );
  await boot.disposer.dispose();
  assert.equal((await vm.exited).requested, true);
});

test("a VMM that does not start leaves nothing to release, and its error is the boot's", async () => {
  const boot = await fakeBoot();
  const around = new FakeSurroundings();
  const failing = startSandboxVm(boot, around.value, async () => {
    throw unavailable("qemu: no");
  });
  await assert.rejects(failing, { code: "Unavailable", message: "qemu: no" });
  assert.deepEqual(around.steps, ["seal directory"]);
  await boot.disposer.dispose();
});

test("a running VM is stopped if the next step fails", async () => {
  const boot = await fakeBoot();
  const around = new FakeSurroundings();
  const { value } = around;
  const vsock = { ...value.vsock, seal: () => Promise.reject(unavailable("seal failed")) };
  await assert.rejects(startSandboxVm(boot, { ...value, vsock }), /seal failed/);
  await boot.disposer.dispose();
  assert.equal((await around.driver.vms[0]?.exited)?.requested, true);
});

test("the VM is lost with its helper", async () => {
  const boot = await fakeBoot();
  const around = new FakeSurroundings();
  const { componentLost } = await startSandboxVm(boot, around.value);
  around.virtiofsd.end("virtiofsd was killed by SIGKILL");
  assert.equal((await componentLost).reason, "virtiofsd was killed by SIGKILL");
  await boot.disposer.dispose();
});
