/** Clients that go away in the middle of a call: nothing is left, and the id can be used again. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUSYBOX } from "../testkit/ctr.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { forEveryRunner, RUNTIMES, type Runner } from "./fixture.ts";

/** When ctr is killed, in milliseconds after its start: from before containerd knows to after the container runs. */
const RUN_OFFSETS_MS = [20, 80, 150, 300, 450, 600, 800, 1_100, 1_500, 2_200, 3_000];
const DELETE_OFFSETS_MS = [20, 60, 100, 150, 200, 300, 400];
/** A shim to which nobody came gives up after half a minute. */
const GONE_WITHIN_MS = 60_000;

/** Whether containerd lists the task. */
async function listed({ ctr }: Runner, id: string): Promise<boolean> {
  const { stdout } = await ctr.expect(["task", "ls", "--quiet"]);
  return stdout.split("\n").includes(id);
}

/** A task that came to run outlives its client, as with any runtime: it is removed as an administrator would. */
async function removeTask(runner: Runner, id: string): Promise<void> {
  if (await listed(runner, id)) await runner.ctr.call(["task", "rm", "--force", id]);
}

/** Takes away what belongs to containerd alone. */
async function forget({ ctr }: Runner, id: string): Promise<void> {
  await ctr.call(["container", "rm", id]);
  await ctr.call(["snapshot", "rm", id]);
}

forEveryRunner(
  "impatient",
  (runner) => {
    for (const offset of RUN_OFFSETS_MS) {
      it(`ctr run is killed after ${offset} ms`, async () => {
        const id = runner().id();
        const before = await snapshot(runner().scope);
        const run = runner().start(["sleep", "1000"], { id });
        await sleep(offset);
        run.kill();
        await run.ended;
        await removeTask(runner(), id);
        await assertNoLeaks(before, runner().scope, GONE_WITHIN_MS);
        assert.equal(await listed(runner(), id), false);
        await forget(runner(), id);
        const again = await runner().sh("exit 6", { id });
        assert.equal(again.code, 6, again.stderr);
      });
    }

    for (const offset of DELETE_OFFSETS_MS) {
      it(`ctr task rm is killed after ${offset} ms`, async () => {
        const id = runner().id();
        const { ctr } = runner();
        const before = await snapshot(runner().scope);
        await ctr.expect(["run", "--detach", "--runtime", RUNTIMES.hull, BUSYBOX, id, "sleep", "1000"]);
        const removal = ctr.start(["task", "rm", "--force", id]);
        await sleep(offset);
        removal.kill();
        await removal.ended;
        await removeTask(runner(), id);
        await assertNoLeaks(before, runner().scope, GONE_WITHIN_MS);
        await forget(runner(), id);
        const again = await runner().sh("exit 6", { id });
        assert.equal(again.code, 6, again.stderr);
      });
    }
  },
  ["hull"],
);
