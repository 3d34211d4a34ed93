import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { AgentConnection } from "../../src/agent/agent-connection.ts";
import type { Deadline } from "../../src/core/deadline.ts";
import type { VmSpec } from "../../src/hypervisor/hypervisor.ts";
import { Qemu } from "../../src/hypervisor/qemu/driver.ts";
import type { Template } from "../../src/template/store.ts";
import { obtainTemplate } from "../../src/template/template.ts";
import { expectGuestCall } from "../../src/vsock/guest-call.ts";
import { HybridVsock } from "../../src/vsock/hybrid.ts";
import { startVsockDaemon } from "../../src/vsock/vhost-device-vsock.ts";
import { TEST_ACCEL, TEST_CPU_MODEL } from "../testkit/accel.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";
import { requireFiles } from "../testkit/required-files.ts";
import { within } from "../testkit/within.ts";

// Real QEMU with the built guest image. hack/test builds it; HULL_VHOST_DEVICE_VSOCK names the vsock daemon.
const dist = join(import.meta.dirname, "../../dist");
const vsockPath = process.env.HULL_VHOST_DEVICE_VSOCK ?? join(dist, "libexec/vhost-device-vsock");
requireFiles(
  [join(dist, "guest/vmlinux"), join(dist, "guest/initrd.img"), vsockPath, "/usr/bin/qemu-system-x86_64"],
  "run hack/setup and hack/build-guest",
);

const LIMIT_MS = 300_000;

describe("templates with QEMU", () => {
  let root: string;
  let template: Template;
  const driver = new Qemu(dist);
  const spec = (name: string): VmSpec => ({
    ...{
      name,
      directory: join(root, name),
      path: "/usr/bin/qemu-system-x86_64",
      machine: "q35",
      accel: TEST_ACCEL,
    },
    ...{ cpuModel: TEST_CPU_MODEL, vcpus: 1, memoryMib: 192, netns: undefined, vsock: undefined },
    ...{ kernel: join(dist, "guest/vmlinux"), initrd: join(dist, "guest/initrd.img"), kernelParams: [] },
    ...{ shares: [], nics: [], disks: [], extraArgs: [] },
  });

  before(async () => {
    root = await mkdtemp("/dev/shm/hull-template-test-");
    const deadline = within(LIMIT_MS);
    const settings = { template_path: join(root, "templates"), max_size: 1024, wait: true };
    const warn = (text: string) => assert.fail(text);
    const context = { deadline, warn, log: () => undefined };
    const made = await obtainTemplate(driver, spec("builder"), settings, context);
    assert.ok(made);
    template = made;
  });
  after(() => rm(root, { recursive: true, force: true }));

  /** Restores a clone, connects to its agent and calls StartSandbox. */
  async function withClone(name: string, use: (agent: AgentConnection) => Promise<void>): Promise<void> {
    const deadline = within(LIMIT_MS);
    const ledger = new MemoryLedger();
    const own = spec(name);
    await mkdir(own.directory, { mode: 0o700 });
    const daemon = { path: vsockPath, directory: own.directory, pod: `test/${name}` };
    const vsock = await startVsockDaemon(daemon, ledger, deadline);
    try {
      const call = await expectGuestCall(vsock.hybridSocket, ledger);
      const context = { deadline, ledger, pod: `test/${name}`, log: () => undefined };
      const vm = await driver.restore(template.path, own, context);
      try {
        await vm.plug({ kind: "vhost-user", socket: vsock.vhostUserSocket }, deadline);
        await vm.resume(deadline);
        const socket = await call.answered(deadline);
        const backend = new HybridVsock(vsock.hybridSocket);
        const dial = (port: number, by: Deadline) => backend.connect(port, by);
        const agent = await AgentConnection.connect(socket, dial, deadline);
        await use(agent);
        agent.close();
      } finally {
        await vm.stop(within(30_000));
      }
    } finally {
      await vsock.stop(within(30_000));
    }
    assert.deepEqual(ledger.resources, []);
  }

  test("two clones run at the same time and both agents answer", async () => {
    let running = 0;
    let most = 0;
    const bothUp = new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (running < 2) return;
        clearInterval(timer);
        resolve();
      }, 20);
    });
    const use = async (agent: AgentConnection) => {
      running += 1;
      most = Math.max(most, running);
      assert.notEqual(agent.kernelRelease, "");
      await within(LIMIT_MS).race(bothUp);
    };
    await Promise.all([withClone("one", use), withClone("two", use)]);
    assert.equal(most, 2);
  });

  test("a clone does not change the template and leaves no other files", async () => {
    await withClone("three", async () => undefined);
    assert.deepEqual((await readdir(template.path)).sort(), ["hits", "manifest.json", "memory", "state"]);
    assert.deepEqual((await readdir(join(root, "templates"))).sort(), [template.key, "lock"].sort());
  });

  test("a truncated state fails fast with QEMU's message, and nothing is left", async () => {
    await truncate(join(template.path, "state"), 100_000);
    const ledger = new MemoryLedger();
    const deadline = within(LIMIT_MS);
    const own = spec("broken");
    await mkdir(own.directory);
    await assert.rejects(
      driver.restore(template.path, own, { deadline, ledger, pod: "test/broken", log: () => undefined }),
      { code: "Unavailable", message: /VM broken: / },
    );
    assert.deepEqual(ledger.resources, []);
  });
});
