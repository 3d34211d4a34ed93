import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { FakeHypervisor, FakeVm } from "../../../test/testkit/fake-hypervisor.ts";
import { MemoryLedger } from "../../../test/testkit/memory-ledger.ts";
import { within } from "../../../test/testkit/within.ts";
import type { Deadline } from "../../core/deadline.ts";
import { deadlineExceeded, unavailable } from "../../core/errors.ts";
import { Timeline } from "../../core/timeline.ts";
import type { VmSpec } from "../../hypervisor/hypervisor.ts";
import { TemplateStore } from "../../template/store.ts";
import { CloneError, startVm } from "./start-vm.ts";

let root: string;
let driver: FakeHypervisor;
let spec: VmSpec;
let warnings: string[];
let deadline: Deadline;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-start-vm-"));
  driver = new FakeHypervisor();
  warnings = [];
  deadline = within(20_000, "test");
  const kernel = join(root, "vmlinux");
  await writeFile(kernel, "kernel");
  spec = {
    ...{ name: "p", directory: root, path: process.execPath, machine: "q35", accel: "tcg", cpuModel: "max" },
    ...{ vcpus: 1, memoryMib: 64, kernel, initrd: kernel, kernelParams: [], netns: undefined },
    vsock: { kind: "vhost-user", socket: "/vhu.sock" },
    shares: [{ kind: "share", tag: "hull", socket: "/fs.sock" }],
    nics: [{ kind: "nic", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 }],
    ...{ disks: [], extraArgs: [] },
  };
});
afterEach(async () => {
  deadline.dispose();
  await rm(root, { recursive: true });
});

const start = (change: Partial<VmSpec> = {}, clone = true) =>
  startVm(driver, { ...spec, ...change }, clone, {
    settings: { enable: true, template_path: join(root, "templates"), max_size: 1024, wait: true },
    ...{ deadline, ledger: new MemoryLedger(), pod: "ns/p", timeline: new Timeline() },
    ...{ log: () => undefined, warn: (text: string) => warnings.push(text) },
  });
const discardAll = async () => {
  const store = new TemplateStore(join(root, "templates"));
  for (const { key } of await store.list()) await store.discard(key);
};
const templates = async () => (await readdir(join(root, "templates"))).filter((name) => name !== "lock");

test("a pod's clone gets its devices, vsock last, before it runs", async () => {
  const { vm, proving } = await start();
  assert.ok(vm instanceof FakeVm);
  assert.deepEqual(vm.calls, ["restore", "plug share", "plug nic", "plug vhost-user", "resume"]);
  assert.equal(await proving(async () => 7), 7);
  assert.deepEqual(warnings, []);
});

test("machines that cannot be cloned are booted without a warning", async () => {
  const { vm } = await start({ machine: "microvm" });
  assert.deepEqual((vm as FakeVm).calls, []);
  assert.deepEqual(((await start({}, false)).vm as FakeVm).calls, []);
  assert.deepEqual(warnings, []);
});

test("a clone gets the kernel's vsock like any other device", async () => {
  const { vm } = await start({ vsock: { kind: "vhost", cid: 3, fd: 9 } });
  assert.deepEqual((vm as FakeVm).calls.slice(-2), ["plug vhost", "resume"]);
});

test("if no template can be built, the pod is booted, with one warning", async (t) => {
  t.mock.method(FakeVm.prototype, "snapshot", async () => {
    throw unavailable("no room");
  });
  const { vm } = await start();
  assert.deepEqual((vm as FakeVm).calls, []);
  assert.deepEqual(warnings, ["build a template: no room; the pod is booted without a template"]);
});

test("a clone that does not come up is a CloneError; VM and template are removed", async (t) => {
  await start();
  t.mock.method(FakeVm.prototype, "resume", async () => {
    throw unavailable("qemu ended");
  });
  await assert.rejects(start(), (error: unknown) => {
    assert.ok(error instanceof CloneError);
    assert.match(error.message, /^start from a template: qemu ended$/);
    return true;
  });
  assert.equal((await driver.vms.at(-1)?.exited)?.requested, true);
  assert.deepEqual(await templates(), []);
});

test("a clone's unresponsive guest is a CloneError; a slow one does not cost the template", async () => {
  const { proving } = await start();
  const silent = async () => {
    throw deadlineExceeded("no answer");
  };
  await assert.rejects(proving(silent), CloneError);
  assert.equal((await templates()).length, 1);
});

test("the caller's timeout is not a failure of the clone", async () => {
  const { proving } = await start();
  deadline.cancel("containerd gave up");
  await assert.rejects(
    proving(async () => {
      throw unavailable("x");
    }),
    { code: "Canceled", message: /containerd gave up/ },
  );
});

test("if a template is discarded before it is opened, the pod is booted", async (t) => {
  await start();
  const { restore } = FakeHypervisor.prototype;
  t.mock.method(driver, "restore", async (...args: Parameters<typeof restore>) => {
    await discardAll();
    return await restore.apply(driver, args);
  });
  const { vm, proving } = await start();
  assert.deepEqual((vm as FakeVm).calls, []);
  assert.equal(await proving(async () => 7), 7);
  assert.deepEqual(warnings, []);
});

test("a template may be discarded while its clone starts", async () => {
  const { vm, proving } = await start();
  assert.equal((vm as FakeVm).calls[0], "restore");
  await discardAll();
  assert.equal(await proving(async () => 7), 7);
  assert.deepEqual(warnings, []);
});

test("a failed clone removes only its own template", async () => {
  const { proving } = await start();
  await discardAll();
  await start();
  const failure = async () => {
    throw unavailable("qemu ended");
  };
  await assert.rejects(proving(failure), CloneError);
  assert.equal((await templates()).length, 1);
});

test("concurrent starts and discards do not disturb each other", async () => {
  const store = new TemplateStore(join(root, "templates"));
  let busy = true;
  const discarding = (async () => {
    while (busy) {
      for (const { key, problem } of await store.list()) {
        assert.equal(problem, undefined);
        await store.discard(key);
      }
      await new Promise(setImmediate);
    }
  })();
  const starting = Array.from({ length: 8 }, async () => {
    for (let round = 0; round < 3; round++) {
      const { proving } = await start();
      assert.equal(await proving(async () => round), round);
    }
  });
  await Promise.all(starting).finally(() => {
    busy = false;
  });
  await discarding;
  assert.deepEqual(warnings, []);
});
