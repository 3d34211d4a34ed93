/** The third phase of a boot: an agent that answers, or does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAgent } from "../../../test/testkit/fake-agent.ts";
import { FakeSurroundings, fakeBoot } from "../../../test/testkit/fake-boot.ts";
import type { SandboxSettings } from "../../agent/guest-agent.ts";
import { internal } from "../../core/errors.ts";
import type { SandboxRequest } from "../../oci/sandbox-request.ts";
import { startAgent } from "./agent.ts";
import { startSandboxVm } from "./vm.ts";

async function booting(request: Partial<SandboxRequest> = {}) {
  const boot = await fakeBoot("", request);
  const around = new FakeSurroundings();
  return { boot, around, vm: await startSandboxVm(boot, around.value) };
}

test("the guest gets the pod's settings, and the helpers enter the pod's cgroup", async () => {
  const { boot, around, vm } = await booting({ hostname: "web", sysctls: { "net.core.somaxconn": "9" } });
  const agent = new FakeAgent();
  const received: SandboxSettings[] = [];
  agent.startSandbox = async (settings) => void received.push(settings);
  assert.equal(await startAgent(boot, around.value, vm, async () => agent), agent);
  assert.deepEqual(received, [
    {
      hostname: "web",
      shares: [{ tag: "hull", target: "/run/hull/shared", readOnly: false }],
      network: { interfaces: [], routes: [] },
      sysctls: { "net.core.somaxconn": "9" },
      shmSize: 64n << 20n,
      maxShareFiles: 100,
      forwardToken: vm.forwardToken,
    },
  ]);
  assert.ok(around.steps.includes("adopt helpers"));
  assert.equal(around.virtiofsd.forksRecorded, 1);
  await boot.disposer.dispose();
  assert.match((await agent.lost).message, /closed by the host/);
});

test("a VM that ends before its agent answers is the failure, with the end of its console", async () => {
  const { boot, around, vm } = await booting();
  const starting = startAgent(boot, around.value, vm, () => new Promise(() => undefined));
  around.driver.vms[0]?.die();
  await assert.rejects(starting, {
    code: "Unavailable",
    message: /^fake was killed by SIGKILL before the guest agent answered.*fake guest up/s,
  });
  await boot.disposer.dispose();
});

test("an agent that cannot set up the sandbox is closed once all other steps have ended", async () => {
  const { boot, around, vm } = await booting();
  const agent = new FakeAgent();
  agent.faults.set("startSandbox", internal("mount: no"));
  await assert.rejects(
    startAgent(boot, around.value, vm, async () => agent),
    /mount: no/,
  );
  assert.equal(around.virtiofsd.forksRecorded, 1);
  await boot.disposer.dispose();
  assert.match((await agent.lost).message, /closed by the host/);
});
