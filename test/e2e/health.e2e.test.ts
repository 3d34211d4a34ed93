/** A pod whose VM is unresponsive is reported once, in log and events, and is killed if so configured. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import { pollUntil } from "../../src/core/poll-until.ts";
import { BUSYBOX, type Ctr, type RunningCtr } from "../testkit/ctr.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { within } from "../testkit/within.ts";
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

/** Starts a container whose VM is probed several times a second; `pid` is the VMM's. */
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

/** Sends SIGUSR1 to the pod's shim. Resolves with the state that it logs. */
async function stateOf({ ctr, containerd }: Runner, id: string): Promise<State> {
  const [shim] = (await podProcesses(ctr.namespace, id)).get("shim") ?? [];
  assert.ok(shim !== undefined, "the pod has no shim");
  const dumps = async () => {
    const lines = (await containerd.log(ALL)).split("\n");
    return lines.filter((line) => line.includes("shim: state (SIGUSR1)") && line.includes(`"pod":"${id}"`));
  };
  const before = (await dumps()).length;
  process.kill(shim, "SIGUSR1");
  const deadline = within(60_000, "the state in the log");
  await pollUntil(async () => (await dumps()).length > before, deadline);
  return JSON.parse((await dumps()).at(-1) ?? "").state;
}

/** The fields of the state that the test checks. */
interface State {
  readonly calls: readonly { readonly name: string; readonly forMs: number }[];
  readonly outgoing: State["calls"];
  readonly events: { readonly pending: number; readonly lost: number };
  readonly ledger: { readonly resources: readonly { readonly kind: string; readonly pid?: number }[] };
  readonly pod: {
    readonly state: string;
    readonly sandbox: { readonly processes: readonly { readonly role: string; readonly pid: number }[] };
    readonly containers: readonly { readonly id: string; readonly init: { readonly state: string } }[];
  };
}

/** Starts `ctr events`, and resolves when it has printed an event. */
async function follow(ctr: Ctr): Promise<RunningCtr> {
  const events = ctr.start(["events"]);
  let receiving = false;
  const received = events.printed("/images/update").then(() => {
    receiving = true;
  });
  for (let label = 0; !receiving; label++)
    await ctr.expect(["images", "label", BUSYBOX, `io.hull.test/health=${label}`]);
  await received;
  return events;
}

forEveryRunner(
  "health",
  (runner) => {
    it("a stopped VM and its recovery are reported in the log and as events, and later events still arrive", async () => {
      const { ctr, containerd } = runner();
      const events = await follow(ctr);
      const { id, run, pid } = await start(runner(), { health_timeout: "2s" });
      process.kill(pid, "SIGSTOP");
      const message = `pod ${id}: qemu (process ${pid}) is stopped; the guest agent does not answer`;
      await events.printed(message);
      process.kill(pid, "SIGCONT");
      await events.printed(`pod ${id}: ${AGAIN}`);
      await ctr.expect(["task", "kill", "--signal", "SIGKILL", id]);
      assert.equal((await run.ended).code, 137);
      await events.printed("/tasks/delete");
      events.kill();
      const { stdout } = await events.ended;
      const lines = stdout.split("\n").filter((line) => line.includes("/hull/health"));
      assert.match(lines[0] ?? "", /"code":14,/);
      assert.equal(lines.filter((line) => line.includes(message)).length, 1);
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
  "state",
  (runner) => {
    it("SIGUSR1 has the shim log what it is doing, also while its VM is stopped, and continue", async () => {
      const { id, run, pid } = await start(runner(), { health_timeout: "60s" });
      const { pod, calls, events, ledger } = await stateOf(runner(), id);
      assert.equal(pod.state, "running");
      const processes = Object.fromEntries(pod.sandbox.processes.map((one) => [one.role, one.pid]));
      assert.equal(processes.qemu, pid);
      assert.deepEqual(
        pod.containers.map((container) => [container.id, container.init.state]),
        [[id, "running"]],
      );
      assert.ok(calls.some(({ name }) => name === `Wait ${id}`));
      assert.deepEqual(events, { pending: 0, lost: 0 });
      assert.ok(ledger.resources.some((resource) => resource.kind === "process" && resource.pid === pid));
      process.kill(pid, "SIGSTOP");
      const unanswered = async () => {
        const { outgoing } = await stateOf(runner(), id);
        // A probe asks both at once; when the VM stops, one of them may have answered already.
        const probes = ["qemu: query-status", "agent: ping"];
        return outgoing.some(({ name, forMs }) => probes.includes(name) && forMs > 500);
      };
      await pollUntil(unanswered, within(60_000, "a call that the stopped VM does not answer"));
      await runner().ctr.expect(["task", "kill", "--signal", "SIGKILL", id]);
      assert.equal((await run.ended).code, 137);
    });
  },
  ["hull"],
);

forEveryRunner(
  "health-kill",
  (runner) => {
    it("an unresponsive VM is killed if so configured", async () => {
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
