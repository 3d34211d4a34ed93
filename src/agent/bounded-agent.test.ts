import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAgent } from "../../test/testkit/fake-agent.ts";
import { HELLO, hostileAgent } from "../../test/testkit/hostile-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { type ErrorCode, HullError, STATUS } from "../core/errors.ts";
import { PendingCalls } from "../core/pending-calls.ts";
import { BoundedAgent } from "./bounded-agent.ts";
import type { GuestAgent } from "./guest-agent.ts";

const ref = { containerId: "c1", execId: "" };
const none = Deadline.none();
const never = () => new Promise<never>(() => undefined);

const EXIT = { exitStatus: 0, exitedAtUnixNano: 0n, oomKilled: false, stdoutBytes: 0n, stderrBytes: 0n };

const spec = { containerId: "c1", spec: {}, stdio: { terminal: false } };
const sandbox = {
  hostname: "",
  shares: [],
  network: { interfaces: [], routes: [], neighbours: [] },
  sysctls: {},
  shmSize: 0n,
  maxShareFiles: 0,
  forwardToken: "",
};
const signal = { signal: 9, all: false, escalation: "never" } as const;

/** Every call to the guest that has a timeout. */
const calls: Record<string, (agent: GuestAgent, deadline: Deadline) => Promise<unknown>> = {
  startSandbox: (agent, deadline) => agent.startSandbox(sandbox, deadline),
  updateNetwork: (agent, deadline) => agent.updateNetwork(sandbox.network, deadline),
  onlineResources: (agent, deadline) => agent.onlineResources({ vcpus: 1, memoryMib: 1 }, deadline),
  createContainer: (agent, deadline) => agent.createContainer(spec, deadline),
  createExec: (agent, deadline) =>
    agent.createExec({ ...ref, execId: "e", process: {}, stdio: { terminal: false } }, deadline),
  start: (agent, deadline) => agent.start(ref, deadline),
  signal: (agent, deadline) => agent.signal(ref, signal, deadline),
  resize: (agent, deadline) => agent.resize(ref, { width: 1, height: 1 }, deadline),
  delete: (agent, deadline) => agent.delete(ref, deadline),
  pause: (agent, deadline) => agent.pause("c1", deadline),
  resume: (agent, deadline) => agent.resume("c1", deadline),
  update: (agent, deadline) => agent.update("c1", {}, deadline),
  stats: (agent, deadline) => agent.stats("c1", deadline),
  shutdown: (agent, deadline) => agent.shutdown(deadline),
};

/** A guest in which every call does what `behave` does. */
const all = (behave: () => Promise<never>) => ({
  ...{ startSandbox: behave, updateNetwork: behave, onlineResources: behave, createContainer: behave },
  ...{ createExec: behave, startProcess: behave, waitProcess: behave, signalProcess: behave },
  ...{ resizeTerminal: behave, deleteProcess: behave, pauseContainer: behave, resumeContainer: behave },
  ...{ updateContainer: behave, statsContainer: behave, shutdown: behave },
});

test("an unresponsive guest blocks no call beyond its deadline or agent.request_timeout", async (t) => {
  const { connecting } = await hostileAgent(t, all(never), 30);
  const agent = await connecting;
  for (const [name, call] of Object.entries(calls)) {
    await assert.rejects(call(agent, none), { code: "DeadlineExceeded", message: /request_timeout/ }, name);
    const own = Deadline.after(20, "the caller");
    await assert.rejects(call(agent, own), { code: "DeadlineExceeded", message: /the caller/ }, name);
  }
});

test("a ping repeats the handshake, and an unresponsive guest does not block it", async (t) => {
  let hellos = 0;
  const hello = () => (hellos++ < 2 ? HELLO : never());
  const agent = await (await hostileAgent(t, { hello }, 30)).connecting;
  await agent.ping(none);
  assert.equal(hellos, 2);
  await assert.rejects(agent.ping(none), { code: "DeadlineExceeded", message: /request_timeout/ });
});

test("a timeout that is too long for a timer counts as none", async (t) => {
  const { connecting } = await hostileAgent(t, all(never), 30);
  const agent = await connecting;
  const long = Deadline.after(2 ** 32);
  await assert.rejects(agent.start(ref, long), { code: "DeadlineExceeded", message: /request_timeout/ });
  long.dispose();
});

test("an agent that ignores its deadline is bounded, too; wait is not", async () => {
  const fake = new FakeAgent();
  const calls = new PendingCalls();
  const agent = new BoundedAgent(fake, { requestTimeout: 30, warn: assert.fail, calls });
  await agent.createContainer(spec, none);
  fake.faults.set("start", never());
  await assert.rejects(agent.start(ref, none), { code: "DeadlineExceeded" });
  fake.faults.delete("start");
  await agent.start(ref, none);
  const exit = agent.wait(ref);
  assert.deepEqual(
    calls.describe().map(({ name }) => name),
    [`agent: wait container ${ref.containerId}`],
  );
  fake.faults.set("pause", never());
  await assert.rejects(agent.pause("c1", none), { code: "DeadlineExceeded" }); // timed out meanwhile
  fake.end(ref, 3);
  assert.equal((await exit).status, 3);
  assert.deepEqual(calls.describe(), []);
});

test("the guest cannot choose an error's class: only codes that the call can mean pass", async (t) => {
  let code: ErrorCode = "Unknown";
  const { connecting } = await hostileAgent(
    t,
    all(() => Promise.reject(new HullError(code, "because"))),
  );
  const agent = await connecting;
  const wait = (_agent: GuestAgent, _deadline: Deadline) => agent.wait(ref);
  const passed: Record<string, string> = {};
  for (const [name, call] of Object.entries({ ...calls, wait })) {
    const seen: string[] = [];
    for (code of Object.keys(STATUS) as ErrorCode[]) {
      const failure = await call(agent, none).then(
        () => undefined,
        (error: HullError) => error,
      );
      if (!failure) seen.push(`${code}=success`);
      else if (failure.code === code) seen.push(code);
      else assert.ok(failure.code === "Unknown" && failure.message.includes(`because (reported as ${code})`));
    }
    passed[name] = seen.filter((one) => one !== "Unknown").join(" ");
  }
  assert.deepEqual(passed, {
    startSandbox: "InvalidArgument ResourceExhausted FailedPrecondition",
    updateNetwork: "InvalidArgument ResourceExhausted FailedPrecondition",
    onlineResources: "FailedPrecondition",
    createContainer: "InvalidArgument NotFound ResourceExhausted FailedPrecondition",
    createExec: "InvalidArgument ResourceExhausted FailedPrecondition",
    start: "InvalidArgument NotFound ResourceExhausted FailedPrecondition",
    signal: "InvalidArgument NotFound",
    resize: "FailedPrecondition",
    delete: "NotFound=success FailedPrecondition",
    pause: "FailedPrecondition",
    resume: "FailedPrecondition",
    update: "InvalidArgument ResourceExhausted FailedPrecondition",
    stats: "FailedPrecondition",
    shutdown: "",
    wait: "",
  });
});

test("a failed handshake has neither a class of the guest's choice nor its control characters", async (t) => {
  const { connecting } = await hostileAgent(t, {
    hello: () => Promise.reject(new HullError("NotFound", "\x1b]0;title\x07no\x9b2J\x00 \ud800way")),
  });
  await assert.rejects(connecting, {
    code: "Unknown",
    message: /^guest agent: no \ufffd+way \(reported as NotFound\)$/,
  });
});

test("the host's own errors keep their class, but a missing file of the host is not NotFound", async (t) => {
  const { connecting, guest } = await hostileAgent(t, {});
  const agent = await connecting;
  await assert.rejects(agent.openStream("0".repeat(32), none), { code: "Unknown", message: /ENOENT/ });
  const waiting = agent.wait(ref);
  guest.destroy();
  await assert.rejects(waiting, { code: "Unavailable" });
  await agent.lost;
  await assert.rejects(agent.start(ref, none), { code: "Unavailable", message: /guest agent is lost/ });
});

test("a spec that is nested too deeply to be sent is InvalidArgument", async (t) => {
  const { connecting } = await hostileAgent(t, all(never));
  const agent = await connecting;
  const deep: unknown = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
  const refused = { code: "InvalidArgument", message: /nested too deep/ };
  await assert.rejects(agent.createContainer({ ...spec, spec: { deep } }, none), refused);
  await assert.rejects(agent.update("c1", { deep }, none), refused);
});

test("strings from the guest are printable and short", async (t) => {
  const { connecting } = await hostileAgent(t, {
    hello: () => ({
      ...{ protocolMajor: 2, protocolMinor: 0, features: [] },
      ...{ agentVersion: `\x1b[2J${"1".repeat(5000)}`, kernelRelease: "6.1\r\n\x07" },
    }),
    startProcess: () => Promise.reject(new HullError("InvalidArgument", `\x1b[31m${"x".repeat(1 << 20)}`)),
    statsContainer: () => ({
      cgroupFiles: { "memory.stat\x1b[m": "anon 1\n\x1b[2J" },
      netDev: "eth0\x9b2J:\t1\n",
    }),
  });
  const agent = await connecting;
  assert.ok(agent.version.length <= 128);
  assert.match(agent.version, /^1+…$|^1+$/);
  assert.equal(agent.kernelRelease, "6.1\n");
  const failure = await agent.start(ref, none).then(
    () => assert.fail("started"),
    (error: HullError) => error,
  );
  assert.equal(failure.code, "InvalidArgument");
  assert.ok(failure.message.length <= 4096);
  assert.doesNotMatch(failure.message, /\[31m/);
  assert.deepEqual(await agent.stats("c1", none), {
    cgroupFiles: { "memory.stat": "anon 1\n" },
    netDev: "eth0:\t1\n",
  });
});

const breaches: [string, (agent: BoundedAgent) => Promise<unknown>, RegExp][] = [
  ["an exit status out of range", (agent) => agent.wait(ref), /exit status 4242 of container c1/],
  ["endless statistics", (agent) => agent.stats("c1", none), /statistics of c1 of 2000000 characters/],
];

for (const [what, call, message] of breaches) {
  test(`a protocol violation is logged and ends the pod: ${what}`, async (t) => {
    const { connecting, warnings } = await hostileAgent(t, {
      waitProcess: () => ({ ...EXIT, exitStatus: 4242 }),
      statsContainer: () => ({ cgroupFiles: {}, netDev: "x".repeat(2_000_000) }),
    });
    const agent = await connecting;
    await assert.rejects(call(agent), { code: "DataLoss", message: message });
    assert.match((await agent.lost).message, message);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", message);
    await assert.rejects(agent.start(ref, none), { code: "Unavailable" });
  });
}

test("a failed wait is logged once; one that the host itself ended is not", async (t) => {
  const { connecting, warnings } = await hostileAgent(t, {
    waitProcess: ({ execId }) => (execId === "" ? never() : Promise.reject(new Error("lost it"))),
  });
  const agent = await connecting;
  await assert.rejects(agent.wait({ ...ref, execId: "e1" }), { code: "Unknown" });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /^exec e1 of container c1: its exit status is unknown: .*lost it/);
  const waiting = agent.wait(ref);
  agent.close();
  await assert.rejects(waiting, { code: "Unavailable" });
  assert.equal(warnings.length, 1);
});

test("frames that are not ttrpc end the pod with that reason", async (t) => {
  const { connecting, guest } = await hostileAgent(t, { waitProcess: never });
  const agent = await connecting;
  const waiting = assert.rejects(agent.wait(ref), { message: /announces a frame of 2147483647 bytes/ });
  guest.write(Buffer.from("7fffffff000000010200", "hex"));
  assert.match((await agent.lost).message, /announces a frame of 2147483647 bytes/);
  await waiting;
});

test("an exit time lies between the call and now, whatever the guest's clock shows", async (t) => {
  const times = [0n, 2n ** 63n - 1n, -(2n ** 63n), 1n, BigInt(Date.UTC(2200, 0)) * 1_000_000n];
  const { connecting } = await hostileAgent(t, {
    waitProcess: () => ({ ...EXIT, exitedAtUnixNano: times[0] ?? 0n }),
  });
  const agent = await connecting;
  for (; times.length > 0; times.shift()) {
    const before = Date.now();
    const { at } = await agent.wait(ref);
    assert.ok(at.getTime() >= before && at.getTime() <= Date.now(), `${times[0]}: ${at}`);
  }
});
