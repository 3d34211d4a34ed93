import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { create, FakeSandbox, fakeIo, podOn } from "../../test/testkit/fake-sandbox.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { pollUntil } from "../core/poll-until.ts";
import type { OciSpec } from "../oci/spec.ts";
import { ContainerHooks } from "./hooks.ts";

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-hooks-"));
});
after(() => rm(directory, { recursive: true }));

const fileOf = (name: string) => join(directory, name);
const written = (name: string) => readFile(fileOf(name), "utf8").catch(() => "");

/** A spec with hooks of one kind, each a line of shell. */
function hooked(kind: string, ...scripts: readonly string[]): OciSpec {
  const hooks = scripts.map((script) => ({ path: "/bin/sh", args: ["sh", "-c", script] }));
  return { process: { args: ["true"] }, root: { path: "rootfs" }, hooks: { [kind]: hooks } };
}

/** A single container whose spec has hooks, and its pod. */
async function containerOf(spec: OciSpec) {
  const sandbox = new FakeSandbox();
  const pod = podOn(sandbox);
  const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
  const request = { id: "p1", bundle: directory, spec, rootfs: [], stdio, io: fakeIo() };
  return { sandbox, pod, container: await create(pod, request) };
}

test("a hook that times out is not waited for until the processes it started have exited", async () => {
  const limit = Deadline.none();
  const script = `sleep 600 & echo $! >${fileOf("pid")}; wait`;
  const hooks = new ContainerHooks(hooked("prestart", script), "c", directory, () => undefined);
  const running = hooks.creating(0, limit);
  await pollUntil(async () => /^\d+\n$/.test(await written("pid")), within(60_000));
  limit.cancel();
  await assert.rejects(within(60_000).race(running), { code: "Canceled" });
  process.kill(Number(await written("pid")), "SIGKILL"); // it still runs
});

test("a poststart hook that never ends does not prevent the deletion of an ended container", async () => {
  const { sandbox, pod, container } = await containerOf(
    hooked("poststart", `echo >${fileOf("started")}; exec sleep 600`),
  );
  const starting = container.start("", Deadline.none());
  await pollUntil(async () => (await written("started")) !== "", within(60_000));
  sandbox.agent.end({ containerId: "p1", execId: "" }, 3);
  await container.process("").exited;
  const started = assert.rejects(starting, { code: "Canceled" });
  assert.equal((await within(60_000).race(pod.delete("p1", Deadline.none()))).status, 3);
  await started;
});

test("a poststart hook that fails kills the container, and its start fails with the hook's stderr", async () => {
  const failing = "echo no such network >&2; exit 3";
  const { sandbox, container } = await containerOf(hooked("poststart", failing, `echo >${fileOf("second")}`));
  await assert.rejects(container.start("", Deadline.none()), {
    message: "poststart hook /bin/sh: no such network",
  });
  assert.equal(container.process("").exit?.status, 137);
  assert.ok(sandbox.agent.calls.some((call) => call === "signal p1/ 9"));
  assert.equal(sandbox.kills, 0);
  assert.equal(await written("second"), "");
});

test("a poststart hook that fails after the container's exit: its start fails with the hook's stderr alone", async () => {
  const script = `echo >${fileOf("begun")}; until [ -e ${fileOf("exited")} ]; do sleep 0.01; done; echo late >&2; exit 1`;
  const { sandbox, container } = await containerOf(hooked("poststart", script));
  const started = assert.rejects(container.start("", Deadline.none()), {
    message: "poststart hook /bin/sh: late",
  });
  await pollUntil(async () => (await written("begun")) !== "", within(60_000));
  sandbox.agent.end({ containerId: "p1", execId: "" }, 4);
  assert.equal((await container.init.exited).status, 4);
  await writeFile(fileOf("exited"), "");
  await started;
});

test("a poststart hook that the caller's deadline interrupts leaves the container running", async () => {
  const { container } = await containerOf(hooked("poststart", `echo >${fileOf("slow")}; exec sleep 600`));
  const limit = Deadline.none();
  const started = assert.rejects(container.start("", limit), { code: "Canceled" });
  await pollUntil(async () => (await written("slow")) !== "", within(60_000));
  limit.cancel();
  await started;
  assert.equal(container.status("").state, "running");
});

test("the poststop hooks of a container without other hooks run", async () => {
  const { pod } = await containerOf(hooked("poststop", `cat >${fileOf("stopped")}`));
  await pod.delete("p1", Deadline.none());
  assert.equal(JSON.parse(await written("stopped")).status, "stopped");
});

test("a poststop hook that fails is logged, and the next one runs", async () => {
  const failures: unknown[] = [];
  const spec = hooked("poststop", "echo first >&2; exit 1", `echo >${fileOf("next")}`, "exit 2");
  const hooks = new ContainerHooks(spec, "c", directory, (message, error) => {
    failures.push([message, (error as Error).message.split("\n")[0]]);
  });
  await hooks.creating(0, Deadline.none());
  await hooks.stopped();
  assert.equal(await written("next"), "\n");
  assert.deepEqual(failures, [
    ["container c: a poststop hook failed", "poststop hook /bin/sh: first"],
    ["container c: a poststop hook failed", "poststop hook /bin/sh: Command failed: /bin/sh -c exit 2"],
  ]);
});

test("poststop hooks of a wrong form are logged, and the deletion succeeds", async () => {
  const { pod } = await containerOf({ ...hooked("poststop"), hooks: { poststop: [{ path: "relative" }] } });
  await pod.delete("p1", Deadline.none());
});
