/** Pods on a host whose init is systemd: run in a lab with --systemd (hack/lab) by `hack/test lab`. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { run } from "../../src/host/run.ts";
import { BUSYBOX, Ctr } from "../testkit/ctr.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";

/** Everything takes long in an emulated host. */
const LIMIT_MS = 300_000;
const NAMESPACE = "default";
const SLICE = "hulltest.slice";
const SLICE_GROUP = `/sys/fs/cgroup/${SLICE}`;
const ID = "c1";
const SCOPE = `hull-${ID}.scope`;
const GROUP = join(SLICE_GROUP, SCOPE);

const ctr = new Ctr("/usr/local/bin/lab-ctr", NAMESPACE);

function tool(...argv: readonly [string, ...string[]]): Promise<string> {
  return Deadline.within(LIMIT_MS, argv.join(" "), (deadline) => run(argv, deadline));
}

function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  return Deadline.within(LIMIT_MS, what, (deadline) => pollUntil(holds, deadline));
}

/** Returns properties of a unit. */
async function show(unit: string, ...names: readonly string[]): Promise<Record<string, string>> {
  const lines = (await tool("systemctl", "show", unit, `--property=${names.join(",")}`)).trim().split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s)));
}

async function isActive(unit: string): Promise<boolean> {
  return (await show(unit, "ActiveState")).ActiveState === "active";
}

/** Starts a pod whose cgroup is a scope. */
async function startPod(): Promise<void> {
  const flags = ["--runtime", "io.containerd.hull.v2", "--cgroup", `${SLICE}:hull:${ID}`];
  await ctr.expect(["run", "-d", ...flags, BUSYBOX, ID, "sleep", "1000"], { timeoutMs: LIMIT_MS });
}

async function taskState(): Promise<string | undefined> {
  const { stdout } = await ctr.expect(["tasks", "ls"], { timeoutMs: LIMIT_MS });
  return new RegExp(`^${ID} +\\d+ +(\\w+)`, "m").exec(stdout)?.[1];
}

async function pidsInScope(): Promise<number[]> {
  return (await readFile(join(GROUP, "cgroup.procs"), "utf8")).trim().split("\n").map(Number);
}

/** Nothing of the pod is left for systemd. */
async function scopeIsGone(): Promise<void> {
  await until(`the end of ${SCOPE}`, async () => !(await isActive(SCOPE)));
  assert.deepEqual(await show(SCOPE, "LoadState"), { LoadState: "not-found" });
  const groups = await readdir(SLICE_GROUP, { withFileTypes: true });
  assert.deepEqual(
    groups.filter((entry) => entry.isDirectory()).map(({ name }) => name),
    [],
  );
}

describe("pods in systemd's scopes", () => {
  const leaks = { namespace: NAMESPACE, directory: "/run/containerd" };
  let clean: Set<string> | undefined;
  before(() => tool(join(import.meta.dirname, "services")));
  beforeEach(async () => {
    const all = await snapshot(leaks);
    clean = all;
  });
  afterEach(async () => {
    await ctr.call(["tasks", "rm", "-f", ID], { timeoutMs: LIMIT_MS });
    await ctr.call(["containers", "rm", ID], { timeoutMs: LIMIT_MS });
    if (clean) await assertNoLeaks(clean, leaks);
  });

  it("a pod is a scope in its slice, with all its processes, delegated, and gone with the task", async () => {
    await startPod();
    assert.deepEqual(await show(SCOPE, "Slice", "Delegate", "TasksMax", "Transient", "ActiveState"), {
      ...{ Slice: SLICE, Delegate: "yes", TasksMax: "infinity", Transient: "yes", ActiveState: "active" },
    });
    const programs = await Promise.all(
      (await pidsInScope()).map((pid) => readFile(`/proc/${pid}/comm`, "utf8")),
    );
    for (const name of [/^qemu-system/, /^virtiofsd/, /hull|node/])
      assert.ok(
        programs.some((program) => name.test(program)),
        `${name}: ${programs.join(" ")}`,
      );
    assert.match(await readFile(join(GROUP, "memory.pressure"), "utf8"), /^some avg10=/);
    assert.match(await readFile(join(GROUP, "memory.events"), "utf8"), /^oom_kill 0$/m);
    await ctr.expect(["tasks", "rm", "-f", ID], { timeoutMs: LIMIT_MS }).catch(() => undefined); // its status is 137
    await scopeIsGone();
  });

  it("a restart of containerd.service and a reload of systemd leave the pod as it is", async () => {
    await startPod();
    const before = await pidsInScope();
    await tool("systemctl", "restart", "containerd");
    await tool("systemctl", "daemon-reload");
    assert.equal(await taskState(), "RUNNING");
    const { stdout } = await ctr.expect(["tasks", "exec", "--exec-id", "e1", ID, "echo", "alive"], {
      timeoutMs: LIMIT_MS,
    });
    assert.equal(stdout, "alive\n");
    assert.ok(await isActive(SCOPE));
    assert.deepEqual(await pidsInScope(), before);
  });

  it("stopping the scope ends the pod with status 137", async () => {
    await startPod();
    await tool("systemctl", "stop", SCOPE);
    await until("the exit of the task", async () => (await taskState()) === "STOPPED");
    const { stderr } = await ctr.call(["tasks", "rm", ID], { timeoutMs: LIMIT_MS });
    assert.match(stderr, /exit code 137/);
    await scopeIsGone();
  });

  for (const [how, kill] of [
    [
      "SIGKILL of all its processes",
      async () => {
        for (const pid of await pidsInScope()) process.kill(pid, "SIGKILL");
      },
    ],
    ["cgroup.kill", () => writeFile(join(GROUP, "cgroup.kill"), "1")],
  ] as const) {
    it(`${how} leaves neither scope nor task, and the id can be used again`, async () => {
      await startPod();
      await kill();
      await until("the end of the task", async () => (await taskState()) !== "RUNNING");
      await scopeIsGone();
      // containerd frees the id of a dead shim's task when its cleanup has ended, and lists it no more before that.
      await until("the id to be free", async () => {
        await ctr.call(["tasks", "rm", "-f", ID], { timeoutMs: LIMIT_MS });
        await ctr.expect(["containers", "rm", ID]);
        return await startPod().then(
          () => true,
          (error: unknown) => {
            assert.match(String(error), /task c1: already exists/);
            return false;
          },
        );
      });
      assert.ok(await isActive(SCOPE));
    });
  }
});
