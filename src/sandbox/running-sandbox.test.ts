/** The last phase of a boot: a sandbox that runs, is stopped, killed or lost. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FakeAgent } from "../../test/testkit/fake-agent.ts";
import { FakeSurroundings, fakeBoot } from "../../test/testkit/fake-boot.ts";
import { within } from "../../test/testkit/within.ts";
import type { Config } from "../config/schema/schema.ts";
import { internal } from "../core/errors.ts";
import { startSandboxVm } from "./boot/vm.ts";
import { GrowingCapacity } from "./growing-capacity.ts";
import { RunningSandbox } from "./running-sandbox.ts";
import { FixedCapacity } from "./vm-capacity.ts";

async function running(lines = "", hypervisor: Partial<Config["hypervisor"]> = {}) {
  const made = await fakeBoot(lines);
  const config = { ...made.context.config, hypervisor: { ...made.context.config.hypervisor, ...hypervisor } };
  const boot = { ...made, context: { ...made.context, config } };
  const around = new FakeSurroundings();
  const booted = await startSandboxVm(boot, around.value);
  const agent = new FakeAgent();
  boot.disposer.push("agent connection", async () => agent.close());
  const sandbox = new RunningSandbox(boot, around.value, booted, agent);
  const [vm] = around.driver.vms;
  assert.ok(vm);
  return { boot, around, agent, sandbox, vm };
}

test("a VM that ends is lost for the reason of its VMM or its helper", async () => {
  const first = await running();
  first.vm.die();
  assert.match(await first.sandbox.lost, /^fake was killed by SIGKILL; the guest's last console lines:/);
  await first.sandbox.stop(within(60_000));
  const second = await running();
  second.around.virtiofsd.end("virtiofsd was killed by SIGKILL");
  assert.equal(await second.sandbox.lost, "virtiofsd was killed by SIGKILL");
  await second.sandbox.stop(within(60_000));
});

test("a VM whose agent disconnects is lost", async () => {
  const { agent, sandbox } = await running();
  agent.lose("connection reset");
  assert.match(await sandbox.lost, /^the guest agent disconnected: connection reset/);
  await sandbox.stop(within(60_000));
});

test("a VM that is killed twice is lost for the first reason", async () => {
  const { sandbox, vm } = await running();
  assert.equal(sandbox.killed, undefined);
  await Promise.all([sandbox.kill("container c cannot be killed"), sandbox.kill("another")]);
  assert.equal(sandbox.killed, "container c cannot be killed");
  assert.equal(await sandbox.lost, "container c cannot be killed");
  assert.equal((await vm.exited).requested, true);
  await sandbox.stop(within(60_000));
});

test("stop makes the guest write its data back, then releases everything; it is no loss", async () => {
  const { around, agent, sandbox, vm } = await running();
  const lost = sandbox.lost.then(() => "lost");
  await Promise.all([sandbox.stop(within(60_000)), sandbox.stop(within(60_000))]);
  await sandbox.stop(within(60_000));
  assert.equal(agent.calls.filter((call) => call === "shutdown").length, 1);
  assert.equal(around.steps.filter((step) => step === "leave cgroup").length, 1);
  assert.equal((await vm.exited).requested, true);
  await agent.lost;
  assert.equal(await Promise.race([lost, new Promise((resolve) => setImmediate(resolve, "kept"))]), "kept");
});

test("a guest that does not shut down is stopped anyway", async () => {
  const { boot, agent, sandbox, vm } = await running();
  agent.faults.set("shutdown", internal("no"));
  await sandbox.stop(within(60_000));
  assert.equal((await vm.exited).requested, true);
  assert.ok(boot.logged.includes("the guest did not shut down by itself"));
});

test("the VM grows only if the configuration allows it", async () => {
  const grows = await running("runtime: {static_sandbox_resource_mgmt: false}");
  const fixed = await running();
  assert.ok(grows.sandbox.capacity instanceof GrowingCapacity);
  assert.ok(fixed.sandbox.capacity instanceof FixedCapacity);
  for (const { sandbox } of [grows, fixed]) await sandbox.stop(within(60_000));
});

test("it says what its processes, its health and its size are", async () => {
  const { sandbox, vm } = await running();
  const { processes, health, capacity, killed } = sandbox.describe();
  assert.deepEqual((processes as object[])[0], { role: "qemu", pid: vm.pid });
  assert.ok((processes as { role: string }[]).some(({ role }) => role === "virtiofsd"));
  assert.deepEqual([health, killed], [sandbox.health, undefined]);
  assert.deepEqual(capacity, sandbox.capacity.size);
  await sandbox.kill("enough");
  assert.equal(sandbox.describe().killed, "enough");
  await sandbox.stop(within(60_000));
  assert.equal(sandbox.describe().stopping, true);
});

test("guests get the directory next to the initrd only if it has a list of modules", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-guest-modules-"));
  t.after(() => rm(directory, { recursive: true }));
  const initrd = join(directory, "initrd.img");
  await writeFile(initrd, "");
  const { sandbox } = await running("", { initrd });
  const modules = join(directory, "modules");
  assert.equal(await sandbox.moduleDirectory(), undefined);
  await mkdir(modules);
  assert.equal(await sandbox.moduleDirectory(), undefined);
  await writeFile(join(modules, "modules.json"), "{}");
  assert.equal(await sandbox.moduleDirectory(), modules);
  await sandbox.stop(within(60_000));
});
