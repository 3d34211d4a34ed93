/** Clients that go away in the middle of a call: nothing is left, and the id can be used again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUSYBOX, type Ctr } from "../testkit/ctr.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { forEveryRunner, RUNTIMES, type Runner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

/**
 * When ctr is killed, in milliseconds after its start: from before containerd knows to after the container runs. Those of
 * a line are killed side by side, because most of it is waiting.
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
/** A shim to which nobody came gives up after half a minute. */
const GONE_WITHIN_MS = 60_000;

/** Whether containerd lists the task. */
async function listed(ctr: Ctr, id: string): Promise<boolean> {
  const { stdout } = await ctr.expect(["task", "ls", "--quiet"]);
  return stdout.split("\n").includes(id);
}

/** A task that came to run outlives its client, as with any runtime: it is removed as an administrator would. */
async function removeTask(ctr: Ctr, id: string): Promise<void> {
  if (await listed(ctr, id)) await ctr.call(["task", "rm", "--force", id]);
}

/** Takes away what belongs to containerd alone. */
async function forget({ ctr }: Runner, id: string): Promise<void> {
  await ctr.call(["container", "rm", id]);
  await ctr.call(["snapshot", "rm", id]);
}

/** Flags for clones, which cost less than boots. */
async function cloning({ containerd }: Runner): Promise<string[]> {
  const path = join(containerd.directory, "clones.yaml");
  await writeConfig(path, { hypervisor: { template: { enable: true } } });
  return ["--runtime-config-path", path];
}

/** The id is free, and a container of it runs. */
async function runAgain(runner: Runner, id: string, flags: readonly string[]): Promise<void> {
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

forEveryRunner(
  "impatient",
  (runner) => {
    /** `kill` with an id for each offset, which names what is left. */
    const atOnce = async (offsets: readonly number[], kill: typeof killRemoval) => {
      const clients = offsets.map((offset) => ({ id: `after-${offset}`, offset }));
      const flags = await cloning(runner());
      const before = await snapshot(runner().scope);
      await Promise.all(clients.map(({ id, offset }) => kill(runner(), id, offset, flags)));
      await assertNoLeaks(before, runner().scope, GONE_WITHIN_MS);
      await Promise.all(clients.map(({ id }) => runAgain(runner(), id, flags)));
    };

    for (const offsets of RUN_OFFSETS_MS)
      it(`ctr run is killed after ${offsets.join(", ")} ms`, () => atOnce(offsets, killRun));

    for (const offsets of DELETE_OFFSETS_MS)
      it(`ctr task rm is killed after ${offsets.join(", ")} ms`, () => atOnce(offsets, killRemoval));
  },
  ["hull"],
);
