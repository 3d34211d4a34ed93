import assert from "node:assert/strict";
import { readlink } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { HotplugDevice, Hypervisor, Vm, VmSpec } from "../../src/hypervisor/hypervisor.ts";
import { MemoryLedger } from "./memory-ledger.ts";
import { within } from "./within.ts";

/** What the suite needs of a driver; set up for each test. */
export interface ComplianceSetup {
  readonly hypervisor: Hypervisor;
  readonly spec: VmSpec;
  /** Resolves when the guest is able to notice devices. */
  ready(vm: Vm): Promise<void>;
  /** Returns a device to hot-plug. */
  device(): Promise<HotplugDevice>;
  /** Kills the VMM, as SIGKILL does. */
  kill(vm: Vm): void;
  release(): Promise<void>;
}

const BOOT_MS = 60_000;
const STEP_MS = 20_000;

/** Defines tests for the behaviour that every driver must have. */
export function hypervisorCompliance(name: string, setUp: () => Promise<ComplianceSetup>): void {
  describe(`hypervisor compliance: ${name}`, () => {
    let setup: ComplianceSetup;
    let ledger: MemoryLedger;
    let vm: Vm | undefined;

    beforeEach(async () => {
      setup = await setUp();
      ledger = new MemoryLedger();
      vm = undefined;
    });
    afterEach(async () => {
      await vm?.stop(within(20_000));
      await setup.release();
      assert.deepEqual(ledger.resources, [], "the driver left resources behind");
    });

    const boot = async (change: Partial<VmSpec> = {}) => {
      const deadline = within(BOOT_MS, "boot");
      try {
        vm = await setup.hypervisor.boot(
          { ...setup.spec, ...change },
          { deadline, ledger, pod: "test/conformance", log: () => undefined },
        );
        return vm;
      } finally {
        deadline.dispose();
      }
    };
    const soon = () => within(STEP_MS, "step");

    test("boots, pauses, hot-plugs and unplugs a device twice, and stops", async () => {
      const running = await boot();
      assert.ok(running.pid > 0);
      await setup.ready(running);
      assert.notEqual(running.console(), "");
      assert.deepEqual(await running.status(soon()), { state: "running" });
      await running.pause(soon());
      assert.deepEqual(await running.status(soon()), { state: "paused" });
      await running.resume(soon());
      assert.deepEqual(await running.status(soon()), { state: "running" });
      const device = await setup.device();
      for (let round = 0; round < 2; round++) {
        const plugged = await running.plug(device, soon());
        assert.match(await plugged.pciPath(soon()), /^[0-9a-f]{2}\.[0-7](\/[0-9a-f]{2}\.[0-7])*$/);
        await plugged.unplug();
        await plugged.unplug(); // idempotent
      }
      for (const grow of [() => running.addVcpu(soon()), () => running.addMemory(128, soon())])
        await assert.rejects(grow(), { code: "FailedPrecondition", message: /fixed size/ });
      await Promise.all([running.stop(within(20_000)), running.stop(within(20_000))]);
      await running.stop(within(20_000));
      const exit = await running.exited;
      assert.equal(exit.requested, true);
      assert.notEqual(exit.console, "");
      for (const call of [
        () => running.status(soon()),
        () => running.pause(soon()),
        () => running.resume(soon()),
        () => running.plug(device, soon()),
      ]) {
        await assert.rejects(call(), { code: "FailedPrecondition", message: /^cannot / });
      }
    });

    test("reports the exit of the VMM and its cause", async () => {
      const running = await boot();
      setup.kill(running);
      const exit = await running.exited;
      assert.equal(exit.requested, false);
      assert.match(exit.reason, /SIGKILL/);
      await running.stop(within(20_000));
    });

    test("runs in the given network namespace", async () => {
      const own = await readlink("/proc/self/ns/net");
      const running = await boot({ netns: "/proc/self/ns/net" });
      assert.equal(await readlink(`/proc/${running.pid}/ns/net`), own);
      await assert.rejects(boot({ netns: "/no/netns" }), {
        code: "FailedPrecondition",
        message: /\/no\/netns/,
      });
    });

    test("reports a missing file at once, by its name", async () => {
      for (const [key, advice] of [
        ["kernel", /kernel \/no\/file .*hypervisor\.kernel/],
        ["initrd", /initrd \/no\/file .*hypervisor\.initrd/],
        ["path", /\/no\/file does not exist/],
      ] as const) {
        await assert.rejects(boot({ [key]: "/no/file" }), { code: "FailedPrecondition", message: advice });
      }
    });

    test("reports 0 bytes of memory, and a VMM that exits at once, without delay", async () => {
      await assert.rejects(boot({ memoryMib: 8 }), { code: "InvalidArgument", message: /default_memory/ });
      await assert.rejects(boot({ extraArgs: ["--hull-no-such-option"] }), {
        code: "Unavailable",
        message: /hull-no-such-option/,
      });
    });
  });
}
