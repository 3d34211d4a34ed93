/**
 * CRI clients that disconnect during a call, a kubelet and a containerd that restart, and a VM that is
 * stopped.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import { pollUntil } from "../../src/core/poll-until.ts";
import { Cri, type CriContainer, type CriPod, IDLE, isStopping } from "../testkit/cri.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { within } from "../testkit/within.ts";
import { forEveryHandler } from "./cri-fixture.ts";

/** How long clients wait: from before the shim gets the call up to, mostly, its answer. */
const TIMEOUTS_MS = { hull: [100, 400, 1_500], "hull-sandbox": [100, 1_000] };
/** containerd cleans up after its answer, and refuses the name until it has finished. */
const UNDONE_WITHIN_MS = 60_000;
/** The guest's five seconds, the timeouts of teardown, and a busy machine. */
const STOP_LIMIT_MS = 60_000;

/**
 * Waits for a call that may fail because its client, or an earlier one for the same object, has disconnected.
 * Rejects with any other error.
 */
async function mayTimeOut(call: Promise<unknown>): Promise<void> {
  await call.catch((error: Error) => {
    if (!/deadline|cancell?ed|timed out after/i.test(error.message) && !isStopping(error)) throw error;
  });
}

/** Retries what is refused while a cleanup is running. */
async function eventually<T>(what: string, action: () => Promise<T>): Promise<T> {
  const done: T[] = [];
  let refusal: unknown;
  const tried = async () => {
    await action().then(
      (result) => done.push(result),
      (error: unknown) => {
        refusal = error;
      },
    );
    return done.length > 0;
  };
  await pollUntil(tried, within(UNDONE_WITHIN_MS)).catch((cause) => {
    throw new Error(`${what}: ${refusal ?? cause}`, { cause });
  });
  return done[0] as T;
}

const metadataOf = (name: string) => ({ name, uid: name, namespace: "hull-test", attempt: 0 });

/** Stops and removes every pod with this name, as the kubelet does with unwanted pods. */
async function sweep(cri: Cri, name: string): Promise<void> {
  await eventually(`remove ${name}`, async () => {
    const { items } = await cri.runtime.listPodSandbox({});
    for (const { id, metadata } of items) {
      if (metadata?.name !== name) continue;
      await cri.runtime.stopPodSandbox({ podSandboxId: id });
      await cri.runtime.removePodSandbox({ podSandboxId: id });
    }
  });
}

forEveryHandler(
  "impatient",
  (target, handler) => {
    if (handler === "runc") return;
    let before: Set<string>;
    beforeEach(async () => {
      before = await snapshot(target().scope);
    });
    afterEach(async () => {
      await target().cri.removePods();
      await assertNoLeaks(before, target().scope, UNDONE_WITHIN_MS);
    });

    const start = (name: string, timeoutMs?: number) =>
      target().cri.runPod(handler, { metadata: metadataOf(name) }, timeoutMs);
    /** Checks that the name is free and that a new pod with it works. */
    const startAgain = async (name: string) => {
      const pod = await eventually(`start ${name} again`, () => start(name));
      await pod.run(["true"]);
      await pod.remove();
    };
    const forEach = async (step: (patience: number) => Promise<void>) => {
      await Promise.all(TIMEOUTS_MS[handler].map((patience) => step(patience)));
    };

    it("a RunPodSandbox that the client has cancelled leaves nothing behind, and its name is free", async () => {
      await forEach(async (patience) => {
        const name = `run-${patience}`;
        await mayTimeOut(start(name, patience));
        await sweep(target().cri, name);
        await startAgain(name);
      });
    });

    it("a container's name is free after a cancelled CreateContainer, StartContainer, ExecSync or StopContainer", async () => {
      const pod = await target().runPod();
      const { runtime } = target().cri;
      await forEach(async (patience) => {
        const settings = { metadata: { name: `container-${patience}`, attempt: 0 } };
        const again = (step: string) =>
          eventually(`create container-${patience} after ${step}`, async () => {
            const { containers } = await runtime.listContainers({});
            for (const { id, metadata } of containers)
              if (metadata?.name === settings.metadata.name)
                await runtime.removeContainer({ containerId: id });
            return await pod.create(IDLE, settings);
          });
        await mayTimeOut(pod.create(IDLE, settings, patience));
        const created = await again("CreateContainer");
        await mayTimeOut(created.start(patience));
        const running = await again("StartContainer");
        await running.start();
        await mayTimeOut(execFor(running, `sleep ${patience}77`, patience));
        await execEnds(running, `sleep ${patience}77`);
        await mayTimeOut(stopWithin(running, patience));
        const last = await again("StopContainer");
        await last.start();
        assert.equal((await last.sh("exit 6")).code, 6);
      });
    });

    it("StopPodSandbox and RemovePodSandbox work again after they were cancelled, and the name is free", async () => {
      await forEach(async (patience) => {
        const { runtime } = target().cri;
        const pod = await start(`stop-${patience}`);
        await pod.run(IDLE);
        const timeoutMs = patience / 4; // it finishes fast
        await mayTimeOut(runtime.stopPodSandbox({ podSandboxId: pod.id }, { timeoutMs }));
        await mayTimeOut(runtime.removePodSandbox({ podSandboxId: pod.id }, { timeoutMs }));
        target().cri.forget(pod);
        await sweep(target().cri, `stop-${patience}`);
        await startAgain(`stop-${patience}`);
      });
    });

    /**
     * Makes concurrent calls of every kind, on a separate connection; resolves when they are about to be
     * carried out.
     */
    async function busy(cri: Cri): Promise<{ names: string[]; calls: Promise<unknown>[] }> {
      const names = ["busy-exec", "busy-start", "busy-stop", "busy-run"];
      const pods = await Promise.all(
        names.slice(0, 3).map((name) => cri.runPod(handler, { metadata: metadataOf(name) })),
      );
      const [execs, starts, stops] = pods as [CriPod, CriPod, CriPod];
      const [container, created] = await Promise.all([execs.run(IDLE), starts.create(IDLE), stops.run(IDLE)]);
      const calls = [
        container.exec(["sleep", "1000"], 1000),
        created.start(),
        starts.create(IDLE),
        stops.stop(),
        cri.runPod(handler, { metadata: metadataOf("busy-run") }),
      ].map((call) => call.catch(() => undefined));
      return { names, calls };
    }

    it("a restarted kubelet finds its pods and can remove them", async () => {
      const kubelet = new Cri(target().containerd.address);
      const { names, calls } = await busy(kubelet);
      kubelet.close();
      await Promise.all(calls);
      for (const name of names) await sweep(target().cri, name);
      await startAgain("busy-start");
    });

    it("a containerd that is killed and restarted can remove everything", async () => {
      const { containerd } = target();
      const kubelet = new Cri(containerd.address);
      const { names, calls } = await busy(kubelet);
      await containerd.kill();
      kubelet.close();
      await Promise.all(calls);
      await containerd.restart();
      await target().cri.reconnected();
      for (const name of names) await sweep(target().cri, name);
      await containerd.removeForgottenNetns();
      await startAgain("busy-start");
    });

    for (const role of ["qemu", "virtiofsd"]) {
      it(`StopPodSandbox stops a pod whose ${role} is stopped (SIGSTOP)`, async (t) => {
        const pod = await start("stuck");
        // A process that waits for virtiofsd cannot be killed.
        const volume = join(target().directory, `stuck-${role}`);
        await mkdir(volume);
        const mounts = [{ hostPath: volume, containerPath: "/v" }];
        const busy = await pod.run(["sh", "-c", "while :; do echo x >/v/mark; done"], { mounts });
        await pollUntil(
          () => existsSync(join(volume, "mark")),
          within(60_000, "the container's first write"),
        );
        const pids = (await podProcesses("k8s.io", pod.id)).get(role);
        assert.ok(pids, `the pod has no ${role}`);
        for (const pid of pids) process.kill(pid, "SIGSTOP");
        const begin = performance.now();
        await target().cri.runtime.stopPodSandbox({ podSandboxId: pod.id }, { timeoutMs: STOP_LIMIT_MS });
        t.diagnostic(`answered after ${Math.round(performance.now() - begin)} ms`);
        assert.equal((await busy.exited()).exitCode, 137);
        await pod.remove();
        await startAgain("stuck");
      });
    }
  },
  ["2"],
);

function execFor({ cri, id }: CriContainer, command: string, timeoutMs: number): Promise<unknown> {
  return cri.runtime.execSync({ containerId: id, cmd: command.split(" "), timeout: 0n }, { timeoutMs });
}

function stopWithin({ cri, id }: CriContainer, timeoutMs: number): Promise<unknown> {
  return cri.runtime.stopContainer({ containerId: id, timeout: 0n }, { timeoutMs });
}

/** Waits until no process with this command line is left in the container. */
async function execEnds(container: CriContainer, command: string): Promise<void> {
  const runs = async () => (await container.exec(["ps", "-o", "args"])).stdout.split("\n").includes(command);
  await pollUntil(async () => !(await runs()), within(UNDONE_WITHIN_MS, `${command} still runs`));
}
