import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fakeMachine } from "../../../test/testkit/cloud-hypervisor-machine.ts";
import { kvmObstacle } from "../../../test/testkit/kvm-guest.ts";
import { Deadline } from "../../core/deadline.ts";
import { CloudHypervisor } from "./driver.ts";

const PROGRAM = process.env.HULL_CLOUD_HYPERVISOR;
const GUEST = join(import.meta.dirname, "../../../dist/guest");
const KERNEL = join(GUEST, "vmlinux");

/** Why the real program is not tried here; undefined when it is. */
async function obstacle(): Promise<string | undefined> {
  if (!PROGRAM) return "HULL_CLOUD_HYPERVISOR does not name a cloud-hypervisor";
  if (!existsSync(PROGRAM)) return `HULL_CLOUD_HYPERVISOR: ${PROGRAM} does not exist`;
  if (!existsSync(KERNEL)) return `${KERNEL} has not been built`;
  return await kvmObstacle(KERNEL);
}

test("the real Cloud Hypervisor", async (t) => {
  const why = await obstacle();
  if (why !== undefined) return t.skip(`real Cloud Hypervisor: ${why}`);
  const change = { path: PROGRAM ?? "", kernel: KERNEL, initrd: join(GUEST, "initrd.img"), memoryMib: 256 };
  const machine = fakeMachine({}, { ...change, kernelParams: ["ignore_loglevel"] });
  t.after(() => machine.dispose());
  const vm = await new CloudHypervisor().boot(machine.spec, machine.context(60_000));
  const deadline = Deadline.after(60_000);
  t.after(() => deadline.dispose());
  t.after(() => vm.stop(deadline));
  while (!vm.console().includes("Linux version")) {
    deadline.check();
    await sleep(50);
  }
  const template = join(machine.directory, "template");
  mkdirSync(template);
  await vm.pause(deadline);
  await vm.snapshot(template, deadline);
  await vm.resume(deadline);
  assert.equal((await vm.info(deadline)).state, "Running");
  const clone = fakeMachine({}, change);
  t.after(() => clone.dispose());
  const copy = await new CloudHypervisor().restore(template, clone.spec, clone.context(60_000));
  assert.equal((await copy.info(deadline)).state, "Running");
  await copy.stop(deadline);
  await vm.stop(deadline);
  assert.equal((await vm.exited).requested, true);
  assert.deepEqual(machine.ledger.resources, []);
});
