import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { create, FakeSandbox, fakeIo, podOn } from "../../../test/testkit/fake-sandbox.ts";
import { messageOf } from "../../../test/testkit/message.ts";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import { deferred } from "../../core/deferred.ts";
import { HullError } from "../../core/errors.ts";
import { Pod } from "../../pod/pod.ts";
import { CreateTaskRequest } from "../../proto/generated/containerd/task/v2/task.ts";
import type { CallContext } from "../../ttrpc/server-route.ts";
import { taskService } from "./task.ts";

type Options = Parameters<typeof taskService>[0];

/** The service of a pod, with defaults for what `options` lacks. */
function serviceOf(options: Pick<Options, "pod"> & Partial<Options>): ReturnType<typeof taskService> {
  return taskService({
    version: "0",
    escalation: async () => "never",
    createTimeoutMs: async () => Number.POSITIVE_INFINITY,
    cgroupMode: async () => "v2",
    openIo: async () => fakeIo(),
    creating: () => undefined,
    outlivesContainers: () => false,
    shutdown: async () => undefined,
    ...options,
  });
}

test("Shutdown during the only Create ends the shim after the Create was undone", async () => {
  const booting = deferred<void>();
  const pod = new Pod({
    id: "p1",
    boot: async (_, deadline) => {
      booting.resolve();
      return await deadline.race(new Promise<never>(() => undefined));
    },
    publish: () => undefined,
    log: () => undefined,
  });
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" } };
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  const request = { id: "p1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() };
  const created = create(pod, request).catch((error: unknown) => HullError.from(error).code);
  await booting;
  const steps: string[] = [];
  const { shutdown } = serviceOf({
    pod,
    shutdown: async () => {
      await pod.dispose();
      steps.push(pod.empty ? "undone" : "still being created");
    },
  });
  assert.ok(shutdown);
  await shutdown({ id: "p1", now: false }, { deadline: Deadline.none() } as CallContext);
  assert.deepEqual(steps, ["undone"]);
  assert.equal(await created, "Canceled");
});

test("Delete during a Create in a running pod cancels it, and is NotFound once it was undone", async (t) => {
  const bundle = await mkdtemp(join(tmpdir(), "hull-task-"));
  t.after(() => rm(bundle, { recursive: true }));
  const annotations = {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-id": "p1",
  };
  const spec = { ociVersion: "1.0.2", process: { args: ["true"], cwd: "/" }, annotations };
  await writeFile(join(bundle, "config.json"), JSON.stringify(spec));
  const sandbox = new FakeSandbox();
  const pod = podOn(sandbox);
  const sandboxSpec = {
    ...spec,
    annotations: { ...annotations, "io.kubernetes.cri.container-type": "sandbox" },
  };
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  await create(pod, { id: "p1", bundle, spec: sandboxSpec, rootfs: [], stdio, io: fakeIo() });
  const service = serviceOf({ pod });
  const request = messageOf(CreateTaskRequest, { id: "c", bundle });
  const context = { deadline: Deadline.none() } as CallContext;
  // Both in one packet, as containerd sends them if its client has disconnected.
  const created = service.create?.(request, context);
  const deleted = service.delete?.({ id: "c", execId: "" }, context);
  await assert.rejects(async () => await deleted, { code: "NotFound" });
  assert.deepEqual([...sandbox.shared], []);
  assert.deepEqual(sandbox.agent.processes, []);
  await assert.rejects(async () => await created, { code: "Canceled" });
  assert.deepEqual(
    pod.containers.map(({ id }) => id),
    ["p1"],
  );
  await service.create?.(request, context);
  await pod.dispose();
});

test("a Create without a deadline has the configuration's timeout", async (t) => {
  const bundle = await mkdtemp(join(tmpdir(), "hull-task-"));
  t.after(() => rm(bundle, { recursive: true }));
  const spec = {
    ociVersion: "1.0.2",
    process: { args: ["true"], cwd: "/" },
    annotations: { timeout: "short" },
  };
  await writeFile(join(bundle, "config.json"), JSON.stringify(spec));
  const pod = new Pod({
    id: "p",
    boot: async (_, deadline) => await deadline.race(new Promise<never>(() => undefined)),
    publish: () => undefined,
    log: () => undefined,
  });
  let closed = 0;
  const service = serviceOf({
    pod,
    createTimeoutMs: async ({ timeout }) => (timeout === "short" ? 20 : Number.POSITIVE_INFINITY),
    openIo: async () => ({ ...fakeIo(), close: async () => void closed++ }),
  });
  const request = messageOf(CreateTaskRequest, { id: "c", bundle });
  const context = { deadline: Deadline.none() } as CallContext;
  await assert.rejects(async () => await service.create?.(request, context), {
    code: "DeadlineExceeded",
    message: /create container c: timed out after 20 ms/,
  });
  assert.equal(closed, 1);
});

test("an Update with malformed resources is InvalidArgument", async () => {
  const sandbox = new FakeSandbox();
  const pod = podOn(sandbox);
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" } };
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  await create(pod, { id: "p1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  const { update } = serviceOf({ pod });
  assert.ok(update);
  for (const bad of [{ cpu: { cpus: 5 } }, { memory: { limit: { toString: 1 } } }, { memory: [] }]) {
    const value = Buffer.from(JSON.stringify(bad));
    const resources = { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", value };
    await assert.rejects(
      async () =>
        await update({ id: "p1", resources, annotations: {} }, { deadline: Deadline.none() } as CallContext),
      { code: "InvalidArgument" },
      JSON.stringify(bad),
    );
  }
  await pod.dispose();
});

test("Wait ends with its caller's deadline", async () => {
  const pod = podOn(new FakeSandbox());
  const spec = { process: { args: ["true"] }, root: { path: "rootfs" } };
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  await create(pod, { id: "p1", bundle: "/b", spec, rootfs: [], stdio, io: fakeIo() });
  const { wait } = serviceOf({ pod });
  const deadline = Deadline.none();
  const waiting = wait?.({ id: "p1", execId: "" }, { deadline } as CallContext);
  deadline.cancel();
  await assert.rejects(within(30_000).race(Promise.resolve(waiting)), { code: "Canceled" });
  await pod.stop();
});
