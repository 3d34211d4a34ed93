import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  type FakeMachine,
  fakeMachine,
  guestAnswers,
} from "../../../test/testkit/cloud-hypervisor-machine.ts";
import { hypervisorCompliance } from "../../../test/testkit/hypervisor-compliance.ts";
import { requireFiles } from "../../../test/testkit/required-files.ts";
import { Deadline } from "../../core/deadline.ts";
import { kvmObstacle } from "../qemu/accel.ts";
import { CloudHypervisor } from "./driver.ts";

const PROGRAM = process.env.HULL_CLOUD_HYPERVISOR;
const QEMU = "/usr/bin/qemu-system-x86_64";
const GUEST = join(import.meta.dirname, "../../../dist/guest");
const KERNEL = join(GUEST, "vmlinux");

/** Returns why the real program cannot be tested here; undefined if it can. */
async function obstacle(): Promise<string | undefined> {
  if (!PROGRAM) return "HULL_CLOUD_HYPERVISOR does not name a cloud-hypervisor";
  requireFiles([PROGRAM], "HULL_CLOUD_HYPERVISOR names it");
  requireFiles([KERNEL], "run hack/build-guest");
  const directory = mkdtempSync(join(tmpdir(), "hull-accel-"));
  const deadline = Deadline.after(30_000, "the KVM probe");
  try {
    const info = () => undefined;
    const search = { path: QEMU, kernel: KERNEL, directory, warn: info, info };
    const obstacle = await kvmObstacle(search, deadline);
    return obstacle && `no working KVM: ${obstacle.cause}`;
  } finally {
    deadline.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
}

function realMachine(): FakeMachine {
  const assets = { kernel: KERNEL, initrd: join(GUEST, "initrd.img") };
  return fakeMachine({}, { ...assets, path: PROGRAM ?? "", memoryMib: 256 });
}

/** Registers the tests, or one skipped test that gives the reason. */
async function register(): Promise<void> {
  const why = await obstacle();
  if (why !== undefined) {
    test("the real Cloud Hypervisor", { skip: why }, () => undefined);
    return;
  }

  hypervisorCompliance("the real Cloud Hypervisor", async () => {
    const machine = realMachine();
    const path = join(machine.directory, "disk.img");
    writeFileSync(path, Buffer.alloc(1 << 20));
    return {
      hypervisor: new CloudHypervisor(),
      spec: machine.spec,
      ready: () => guestAnswers(machine),
      device: async () => ({ kind: "disk", path, readOnly: true, serial: "data" }),
      kill: (vm) => process.kill(vm.pid, "SIGKILL"),
      release: async () => machine.dispose(),
    };
  });

  test("the real Cloud Hypervisor: a clone of a template runs", async (t) => {
    const [machine, clone] = [realMachine(), realMachine()];
    const deadline = Deadline.after(60_000);
    t.after(() => {
      deadline.dispose();
      machine.dispose();
      clone.dispose();
    });
    const vm = await new CloudHypervisor().boot(machine.spec, machine.context(60_000));
    t.after(() => vm.stop(deadline));
    await guestAnswers(machine);
    const template = join(machine.directory, "template");
    mkdirSync(template);
    await vm.pause(deadline);
    await vm.snapshot(template, deadline);
    const copy = await new CloudHypervisor().restore(template, clone.spec, clone.context(60_000));
    t.after(() => copy.stop(deadline));
    await copy.resume(deadline);
    await guestAnswers(clone);
    assert.equal((await copy.info(deadline)).state, "Running");
  });
}

void register();
