/** Clients that disconnect during a call: nothing is left, and the id can be reused. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pollUntil } from "../../src/core/poll-until.ts";
import { ContainerdClient, statusName } from "../testkit/containerd-client.ts";
import { BUSYBOX, type Ctr, type RunningCtr } from "../testkit/ctr.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { Task } from "../testkit/task.ts";
import { within } from "../testkit/within.ts";
import { forEveryRunner, RUNTIMES, type Runner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

/**
 * When ctr is killed, in milliseconds after its start: from before containerd gets the call to after the
 * container runs. Those in one row are killed concurrently, since most of the time is waiting.
 */
const RUN_OFFSETS_MS = [
  [20, 300, 800, 3_000],
  [80, 450, 1_100, 2_200],
  [150, 600, 1_500],
];
const DELETE_OFFSETS_MS = [
  [20, 100, 200, 400],
  [60, 150, 300],
];
/** When Ctrl-C is first pressed; it is repeated until ctr has exited. */
const INTERRUPT_OFFSETS_MS = [
  [20, 400, 1_200, 3_000],
  [100, 700, 1_800],
];
const PRESSED_EVERY_MS = 200;
/** Exits with 9 when interrupted. */
const INTERRUPTIBLE = ["sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 1000 & wait; done"];
/** When the client of a container in a running pod is killed, in milliseconds: mostly during Create. */
const MEMBER_OFFSETS_MS = Array.from({ length: 16 }, (_, index) => 20 + 10 * index);
/** How long a client waits for a container whose guest is stopped. */
const CREATE_TIMEOUT_MS = 700;
/** A shim without callers exits after half a minute. */
const GONE_WITHIN_MS = 60_000;

/** Whether containerd lists the task. */
async function listed(ctr: Ctr, id: string): Promise<boolean> {
  const { stdout } = await ctr.expect(["task", "ls", "--quiet"]);
  return stdout.split("\n").includes(id);
}

/** A task that was started outlives its client, as with any runtime: removes it as an administrator would. */
async function removeTask(ctr: Ctr, id: string): Promise<void> {
  if (await listed(ctr, id)) await ctr.call(["task", "rm", "--force", id]);
}

/** Removes what belongs to containerd alone. */
async function forget({ ctr }: Runner, id: string): Promise<void> {
  await ctr.call(["container", "rm", id]);
  await ctr.call(["snapshot", "rm", id]);
}

/** Returns flags for clones, which are cheaper than boots. */
async function cloning({ containerd }: Runner): Promise<string[]> {
  const path = join(containerd.directory, "clones.yaml");
  await writeConfig(path, { hypervisor: { template: { enable: true } } });
  return ["--runtime-config-path", path];
}

/** Checks that the id is free and that a container with it runs. */
async function assertReusable(runner: Runner, id: string, flags: readonly string[]): Promise<void> {
  assert.equal(await listed(runner.ctr, id), false, `${id} is still listed`);
  await forget(runner, id);
  const again = await runner.sh("exit 6", { id, flags });
  assert.equal(again.code, 6, `${id}: ${again.stderr}`);
}

async function killRun(runner: Runner, id: string, offset: number): Promise<void> {
  const run = runner.start(["sleep", "1000"], { id });
  await sleep(offset);
  run.kill();
  await run.ended;
  await removeTask(runner.ctr, id);
}

async function killRemoval(
  { ctr }: Runner,
  id: string,
  offset: number,
  flags: readonly string[],
): Promise<void> {
  await ctr.expect(["run", "--detach", "--runtime", RUNTIMES.hull, ...flags, BUSYBOX, id, "sleep", "1000"]);
  const removal = ctr.start(["task", "rm", "--force", id]);
  await sleep(offset);
  removal.kill();
  await removal.ended;
  await removeTask(ctr, id);
}

/**
 * Interrupts `ctr run`. Before ctr forwards signals, the first one kills it; later they go to the task, whose
 * exit status ctr returns.
 */
async function interruptRun(
  { ctr }: Runner,
  id: string,
  offset: number,
  flags: readonly string[],
): Promise<void> {
  const run = ctr.start(["run", "--rm", "--runtime", RUNTIMES.hull, ...flags, BUSYBOX, id, ...INTERRUPTIBLE]);
  await interrupt(run, offset);
  const { code, signal, stderr } = await run.ended;
  assert.ok(signal === "SIGINT" || code === 9, `${id}: ${signal ?? `status ${code}`}: ${stderr}`);
  if (signal === null) assert.equal(await listed(ctr, id), false, `${id} is still listed`);
  await removeTask(ctr, id);
}

/** As `interruptRun`; with -t the terminal generates the signal until it is the task's. */
async function interruptOnTerminal(
  { ctr }: Runner,
  id: string,
  offset: number,
  flags: readonly string[],
): Promise<void> {
  const options = ["--rm", "-t", "--runtime", RUNTIMES.hull, ...flags];
  const run = ctr.startOnTerminal(["run", ...options, BUSYBOX, id, ...INTERRUPTIBLE]);
  await interrupt(run, offset);
  const { code, stdout } = await run.ended;
  assert.ok(code === 130 || code === 9, `${id}: status ${code}: ${stdout}`);
  await removeTask(ctr, id);
}

async function interrupt(run: RunningCtr, offset: number): Promise<void> {
  let ended = false;
  const end = run.ended.then(() => {
    ended = true;
  });
  await sleep(offset);
  while (!ended) {
    run.interrupt();
    await Promise.race([end, sleep(PRESSED_EVERY_MS)]);
  }
}

/** Returns a function that creates tasks of a pod, by the id of its sandbox container. */
async function podMaker(runner: Runner, client: ContainerdClient, pod: string) {
  const [, configPath] = await cloning(runner);
  return (id: string, type: "sandbox" | "container", createWithinMs?: number) =>
    Task.create(client, {
      ...{ id, runtime: RUNTIMES.hull, configPath, args: ["sleep", "1000"] },
      ...(createWithinMs !== undefined && { createWithinMs }),
      edit: (spec) => {
        spec.annotations = {
          "io.kubernetes.cri.container-type": type,
          "io.kubernetes.cri.sandbox-id": pod,
        };
      },
    });
}

/**
 * Waits until containerd has undone a cancelled call: it refuses the id until then, and removes the bundle
 * last.
 */
async function undone({ containerd, ctr }: Runner, id: string): Promise<void> {
  const bundle = join(containerd.directory, "state/io.containerd.runtime.v2.task", ctr.namespace, id);
  await pollUntil(() => !existsSync(bundle), within(GONE_WITHIN_MS, `${bundle} stays`));
}

forEveryRunner(
  "impatient",
  (runner) => {
    /** Runs `kill` concurrently for each offset, each with its own id, which identifies leaks. */
    const atOnce = async (offsets: readonly number[], kill: typeof killRemoval) => {
      const clients = offsets.map((offset) => ({ id: `after-${offset}`, offset }));
      const flags = await cloning(runner());
      const before = await snapshot(runner().scope);
      await Promise.all(clients.map(({ id, offset }) => kill(runner(), id, offset, flags)));
      await assertNoLeaks(before, runner().scope, GONE_WITHIN_MS);
      await Promise.all(clients.map(({ id }) => assertReusable(runner(), id, flags)));
    };

    for (const offsets of RUN_OFFSETS_MS)
      it(`ctr run leaves nothing behind if it is killed after ${offsets.join(", ")} ms`, () =>
        atOnce(offsets, killRun));

    for (const offsets of INTERRUPT_OFFSETS_MS) {
      it(`ctr run leaves nothing behind if it is interrupted after ${offsets.join(", ")} ms`, () =>
        atOnce(offsets, interruptRun));
      it(`ctr run -t leaves nothing behind if it is interrupted after ${offsets.join(", ")} ms`, () =>
        atOnce(offsets, interruptOnTerminal));
    }

    it("the id is free after a Create in a running pod is cancelled while the guest carries it out", async () => {
      const client = new ContainerdClient(runner().containerd.address, runner().ctr);
      const create = await podMaker(runner(), client, "stopped");
      const pod = await (await create("stopped", "sandbox")).start();
      const [qemu = 0] = (await podProcesses(runner().ctr.namespace, "stopped")).get("qemu") ?? [];
      process.kill(qemu, "SIGSTOP");
      const cancelled = create("added", "container", CREATE_TIMEOUT_MS).then(() => "OK", statusName);
      // The guest has got the call, and sees it together with Delete.
      const code = await cancelled.finally(() => process.kill(qemu, "SIGCONT"));
      assert.match(code, /^(DEADLINE_EXCEEDED|CANCELLED)$/);
      await undone(runner(), "added");
      const again = await create("added", "container");
      await again.start();
      assert.equal((await again.sh("exit 6")).code, 6);
      await again.remove();
      await pod.remove();
      client.close();
    });

    it("a pod can be removed although ctr run of a container in it was killed", async () => {
      const client = new ContainerdClient(runner().containerd.address, runner().ctr);
      const create = await podMaker(runner(), client, "pod");
      const pod = await (await create("pod", "sandbox")).start();
      const { ctr } = runner();
      const member = ["io.kubernetes.cri.container-type=container", "io.kubernetes.cri.sandbox-id=pod"];
      const flags = ["--runtime", RUNTIMES.hull, ...member.flatMap((pair) => ["--annotation", pair])];
      for (const offset of MEMBER_OFFSETS_MS) {
        const id = `member-${offset}`;
        const run = ctr.start(["run", ...flags, BUSYBOX, id, "sleep", "1000"]);
        await sleep(offset);
        run.kill();
        await run.ended;
        await removeTask(ctr, id);
        await forget(runner(), id);
      }
      // A shim exits with its last container: one that containerd has forgotten would keep it alive.
      await pod.remove();
      client.close();
    });

    for (const offsets of DELETE_OFFSETS_MS)
      it(`ctr task rm leaves nothing behind if it is killed after ${offsets.join(", ")} ms`, () =>
        atOnce(offsets, killRemoval));
  },
  ["hull"],
);
