import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fakeIo } from "../../../test/testkit/fake-sandbox.ts";
import { Deadline } from "../../core/deadline.ts";
import { deferred } from "../../core/deferred.ts";
import { HullError } from "../../core/errors.ts";
import { Pod } from "../../pod/pod.ts";
import type { CallContext } from "../../ttrpc/server.ts";
import { taskService } from "./task.ts";

test("Shutdown ends the shim while its only container is being created, once that is undone", async () => {
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
  const { shutdown } = taskService({
    pod,
    version: "0",
    escalation: async () => "never",
    cgroupMode: async () => "v2",
    openIo: async () => fakeIo(),
    outlivesContainers: () => false,
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
