/** What a VM is probed for, and how a failed probe is reported. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { afterEach, beforeEach, test } from "node:test";
import { FakeAgent } from "../../test/testkit/fake-agent.ts";
import { within } from "../../test/testkit/within.ts";
import { pollUntil } from "../core/poll-until.ts";
import { childrenOf, isStopped } from "../host/proc.ts";
import type { VmStatus } from "../hypervisor/hypervisor.ts";
import { healthSentence, probeVm, stoppedComponents, unresponsiveGuest, watchVm } from "./vm-health.ts";
import type { Health } from "./watchdog.ts";

const noAnswer = new Promise<never>(() => undefined);
const SOON_MS = 30;

let helper: ChildProcess;
let pid: number;
let agent: FakeAgent;
let status: () => Promise<VmStatus>;

beforeEach(() => {
  helper = spawn("/bin/sleep", ["1000"]);
  pid = helper.pid ?? 0;
  agent = new FakeAgent();
  status = async () => ({ state: "running" });
});
afterEach(() => void helper.kill("SIGKILL"));

const watched = () => ({
  vm: { pid, status: () => status() },
  ...{ vmmRole: "qemu", agent, helpers: [{ role: "vhost-device-vsock", pid }] },
});
const look = () => probeVm(watched(), within(SOON_MS));
const stop = async () => {
  helper.kill("SIGSTOP");
  await pollUntil(() => isStopped(pid), within(10_000));
};

test("a VM whose components all answer", async () => {
  assert.deepEqual(await look(), []);
});

test("a paused VM need not answer, one that its VMM has stopped must", async () => {
  agent.faults.set("ping", noAnswer);
  status = async () => ({ state: "paused" });
  assert.equal(await look(), undefined);
  status = async () => ({ state: "broken", reason: "internal-error" });
  assert.deepEqual(await look(), [
    { component: "vmm", text: "qemu has stopped the guest (internal-error)" },
    { component: "guest", text: "the guest agent does not answer" },
  ]);
});

test("a component that does not answer or is stopped is named", async () => {
  status = () => noAnswer;
  assert.deepEqual(await look(), [{ component: "vmm", text: "qemu does not answer" }]);
  status = () => Promise.reject(new Error("no"));
  assert.deepEqual(await look(), [{ component: "vmm", text: "qemu does not answer" }]);
  agent.faults.set("ping", new Error("no"));
  await stop();
  assert.deepEqual(await look(), [
    { component: "vmm", text: `qemu (process ${pid}) is stopped`, stopped: true },
    {
      component: "guest",
      text: `the guest agent does not answer: vhost-device-vsock (process ${pid}) is stopped`,
      stopped: true,
    },
  ]);
});

test("a guest that answers, whatever its VMM does, or is paused has no problem", async () => {
  const ask = () => unresponsiveGuest(watched(), within(SOON_MS));
  assert.equal(await ask(), undefined);
  status = () => noAnswer;
  assert.equal(await ask(), undefined);
  agent.faults.set("ping", noAnswer);
  const text = "qemu does not answer; the guest agent does not answer";
  assert.deepEqual(await ask(), { text, stopped: false });
  await stop();
  assert.equal((await ask())?.stopped, true);
  status = async () => ({ state: "paused" });
  assert.equal(await ask(), undefined);
});

/** Watches until `times` reports; returns the reports and whether the VM was given up. */
async function watch(health_action: "report" | "kill", times: number) {
  const reports: Health[] = [];
  const settings = { health_interval: 5, health_timeout: SOON_MS, health_action };
  const { watchdog, givenUp } = watchVm(watched(), settings, (health) => reports.push(health));
  let reason: string | undefined;
  void givenUp.then((why) => {
    reason = why;
  });
  await pollUntil(() => reports.length >= times, within(10_000));
  watchdog.stop();
  return { reports, reason, health: watchdog.health };
}

test("the VM of an unresponsive guest is given up only if the configuration says so", async () => {
  agent.faults.set("ping", noAnswer);
  const reported = await watch("report", 1);
  assert.equal(reported.reason, undefined);
  assert.match(healthSentence(reported.health), /^the guest agent does not answer \(for \d+ ms\)$/);
  const { reason } = await watch("kill", 1);
  assert.match(reason ?? "", /^the VM was killed \(runtime.health_action: kill\): the guest agent does not/);
});

test("an unresponsive VMM alone does not end its VM, whose containers run", async () => {
  status = () => noAnswer;
  const { reports, reason } = await watch("kill", 1);
  assert.deepEqual(
    reports.map(({ unresponsive }) => unresponsive.map(({ component }) => component)),
    [["vmm"]],
  );
  assert.equal(reason, undefined);
});

test("a helper's forks are checked, too", async () => {
  helper.kill("SIGKILL");
  helper = spawn("/bin/sh", ["-c", "sleep 1000; true"]);
  pid = helper.pid ?? 0;
  await pollUntil(async () => (await childrenOf(pid)).length === 1, within(10_000));
  const own = { ...watched(), vm: { pid: process.pid, status: () => status() } };
  assert.deepEqual(await stoppedComponents(own), []);
  const [fork = 0] = await childrenOf(pid);
  process.kill(fork, "SIGSTOP");
  try {
    await pollUntil(() => isStopped(fork), within(10_000));
    assert.deepEqual(await stoppedComponents(own), [`vhost-device-vsock (process ${fork})`]);
  } finally {
    process.kill(fork, "SIGKILL");
  }
});
