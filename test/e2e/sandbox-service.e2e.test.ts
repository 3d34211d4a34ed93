/**
 * Pods of a CRI handler whose sandboxer is the shim: containerd 2 uses the sandbox service instead of a pause
 * task.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { Containerd } from "../testkit/containerd.ts";
import { Cri, IDLE } from "../testkit/cri.ts";
import { assertNoLeaks, type LeakScope, snapshot } from "../testkit/leaks.ts";
import { PodSandboxState } from "../testkit/proto/generated/runtime/v1/pod.ts";
import { chosenLines } from "./fixture.ts";

const HANDLER = "hull-sandbox";

describe("containerd 2: the shim as sandboxer", {
  skip: !chosenLines().includes("2") && "HULL_E2E_LINES leaves containerd 2 out",
}, () => {
  let containerd: Containerd | undefined;
  let cri: Cri;
  let scope: LeakScope;
  let clean: Set<string>;
  before(async () => {
    containerd = await Containerd.up("2");
    cri = new Cri(containerd.address);
    scope = { namespace: "k8s.io", directory: containerd.directory };
    clean = await snapshot(scope);
  });
  afterEach(async () => {
    await cri.removePods();
  });
  after(async () => {
    cri.close();
    await containerd?.down();
  });

  it("runs a pod with two containers that share host name, name service and memory, and leaves nothing", async () => {
    const pod = await cri.runPod(HANDLER, {
      hostname: "podhost",
      dnsConfig: { servers: ["10.0.0.10"], searches: ["svc.local"], options: ["ndots:5"] },
    });
    assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
    const { info } = await cri.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    assert.equal(JSON.parse(info.info ?? "{}").pod?.state, "running");

    const first = await pod.run(IDLE);
    const second = await pod.run(IDLE);
    assert.deepEqual(
      await first.sh("hostname; cat /etc/hostname /etc/resolv.conf; echo shared >/dev/shm/file"),
      {
        code: 0,
        stdout: "podhost\npodhost\nnameserver 10.0.0.10\nsearch svc.local\noptions ndots:5\n",
        stderr: "",
      },
    );
    assert.equal((await second.sh("cat /dev/shm/file")).stdout, "shared\n");

    const { stats } = await cri.runtime.containerStats({ containerId: first.id });
    assert.ok((stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n) > 0n);
    assert.ok((stats?.memory?.workingSetBytes?.value ?? 0n) > 0n);

    await first.stop(0);
    assert.equal((await first.exited()).exitCode, 137);
    assert.equal((await second.sh("echo still here")).stdout, "still here\n");
    await pod.stop();
    assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
    await pod.remove();
    await assertNoLeaks(clean, scope);
  });

  it("reports that a pod is not ready when its VM dies", async () => {
    const pod = await cri.runPod(HANDLER);
    const { info } = await cri.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    process.kill(JSON.parse(info.info ?? "{}").pod.pid, "SIGKILL");
    const end = performance.now() + 60_000;
    while ((await pod.status()).state !== PodSandboxState.SANDBOX_NOTREADY) {
      assert.ok(performance.now() < end, "the pod stays ready");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await pod.remove();
    await assertNoLeaks(clean, scope);
  });
});
