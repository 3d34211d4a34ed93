/**
 * A pod whose VM no longer answers is told of, once, in log and events, and is ended where the configuration
 * says so.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import { BUSYBOX, type Ctr, type RunningCtr } from "../testkit/ctr.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { forEveryRunner, newestLine, type Runner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

/** More lines than containerd logs in one suite. */
const ALL = 100_000;
const AGAIN = "all components of the VM answer again, after";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-health-"));
});
afterEach(async () => await rm(directory, { recursive: true }));

/** A running container whose VM is asked several times a second; `pid` is the VMM's. */
async function start(runner: Runner, runtime: Record<string, string>) {
  const config = join(directory, "config.yaml");
  await writeConfig(config, { runtime: { health_interval: "200ms", ...runtime } });
  const id = runner.id();
  const flags = ["--runtime-config-path", config];
  const run = runner.start(["sh", "-c", "echo up; exec sleep 1000"], { id, flags });
  await run.printed("up");
  const [pid] = (await podProcesses(runner.ctr.namespace, id)).get("qemu") ?? [];
  assert.ok(pid !== undefined, "the pod has no qemu");
  return { id, run, pid };
}

/** `ctr events` that has begun to hear them: it is made to print one. */
async function follow(ctr: Ctr): Promise<RunningCtr> {
  const events = ctr.start(["events"]);
  let hears = false;
  const heard = events.printed("/images/update").then(() => {
    hears = true;
  });
  for (let label = 0; !hears; label++)
    await ctr.expect(["images", "label", BUSYBOX, `io.hull.test/health=${label}`]);
  await heard;
  return events;
}

forEveryRunner(
  "health",
  (runner) => {
    it("a VM that is stopped is told of by log and event, and so is its going on; other events follow", async () => {
      const { ctr, containerd } = runner();
      const events = await follow(ctr);
      const { id, run, pid } = await start(runner(), { health_timeout: "2s" });
      process.kill(pid, "SIGSTOP");
      const told = `pod ${id}: qemu (process ${pid}) is stopped; the guest agent does not answer`;
      await events.printed(told);
      process.kill(pid, "SIGCONT");
      await events.printed(`pod ${id}: ${AGAIN}`);
      await ctr.expect(["task", "kill", "--signal", "SIGKILL", id]);
      assert.equal((await run.ended).code, 137);
      await events.printed("/tasks/delete");
      events.kill();
      const { stdout } = await events.ended;
      const lines = stdout.split("\n").filter((line) => line.includes("/hull/health"));
      assert.match(lines[0] ?? "", /"code":14,/);
      assert.equal(lines.filter((line) => line.includes(told)).length, 1);
      const log = await containerd.log(ALL);
      assert.match(
        log,
        /health: qemu \(process \d+\) is stopped; the guest agent does not answer \(for \d+ ms\)/,
      );
      assert.ok(log.includes(`health: ${AGAIN}`));
    });
  },
  ["hull"],
);

forEveryRunner(
  "health-kill",
  (runner) => {
    it("the configuration can have a VM ended that does not answer", async () => {
      const { run, pid } = await start(runner(), { health_timeout: "4s", health_action: "kill" });
      process.kill(pid, "SIGSTOP");
      assert.equal((await run.ended).code, 137);
      const log = await runner().containerd.log(ALL);
      assert.match(
        log,
        /the VM was killed \(runtime\.health_action: kill\): qemu \(process \d+\) is stopped; the guest/,
      );
    });
  },
  ["hull"],
  newestLine(),
);
