import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { HullError } from "../../../src/core/errors.ts";
import { SigtermEscalation } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import {
  connectAgent,
  NO_STDIO,
  newToken,
  openStream,
  processOf,
  SANDBOX,
  specOf,
} from "../../../test/testkit/guest-agent/agent-client.ts";
import { FakeGuest } from "../../../test/testkit/guest-agent/fake-guest.ts";
import { sysError } from "../../../test/testkit/guest-agent/sys-error.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const code = (expected: string) => (error: HullError) => error.code === expected;

let guest: FakeGuest;
let agent: ReturnType<typeof connectAgent>["agent"];
let close: () => void;

const ref = (containerId: string, execId = "") => ({ containerId, execId });
const signal = (containerId: string, number: number, more: object = {}) =>
  agent.signalProcess({
    ...ref(containerId),
    signal: number,
    all: false,
    escalation: SigtermEscalation.ESCALATION_NEVER,
    escalationMs: 0,
    ...more,
  });
const create = (containerId: string, program: string, stdio = NO_STDIO) =>
  agent.createContainer({
    containerId,
    spec: specOf(program),
    stdio,
    blockDevices: [],
    pciDevices: [],
    ownDevices: [],
    moduleDirectory: "",
    rootDisk: undefined,
  });
const run = async (containerId: string, program: string) => {
  await create(containerId, program);
  await agent.startProcess(ref(containerId));
  await guest.fake.settle();
};

beforeEach(() => {
  guest = new FakeGuest();
  ({ agent, close } = connectAgent(guest));
  guest.scripts.set("idle", () => undefined);
  guest.scripts.set("exit3", (process) => process.exit(3));
});
afterEach(() => close());
const started = async () => void (await agent.startSandbox(SANDBOX));

describe("agent: containers", () => {
  beforeEach(started);

  it("answers while a root disk is written back, then unmounts it even if that failed", async () => {
    const { fake } = guest;
    for (const directory of ["/dev", "/sys/class/block/vda"]) fake.tree.mkdirp(directory);
    fake.tree.write("/dev/vda", "");
    fake.tree.write("/sys/class/block/vda/serial", "d1");
    fake.tree.write("/sys/class/block/vda/dev", "254:0\n");
    const rootDisk = { serial: "d1", fsType: "ext4", readOnly: false, options: [] };
    for (const [status, end] of [
      [0, /^deleted$/],
      [1, /container c1: delete: .*: write it back: exited with status 1$/],
    ] as const) {
      let child = 0;
      fake.programs.set("exe", ({ pid, spawn }) => {
        assert.deepEqual(spawn.argv.slice(1), ["write-back", "/run/hull/roots/c1"]);
        child = pid;
      });
      await agent.createContainer({
        containerId: "c1",
        spec: specOf("idle"),
        stdio: NO_STDIO,
        blockDevices: [],
        pciDevices: [],
        ownDevices: [],
        moduleDirectory: "",
        rootDisk,
      });
      const deleting = agent.deleteProcess(ref("c1")).then(
        () => "deleted",
        (error: Error) => error.message,
      );
      await fake.settle();
      assert.notEqual(child, 0);
      await agent.hello({ protocolMajor: 2 });
      assert.ok(!fake.calls.includes("umount /run/hull/roots/c1"));
      fake.end(child, status);
      assert.match(await deleting, end);
      assert.ok(fake.calls.includes("umount /run/hull/roots/c1"));
      if (status === 0) fake.calls.length = 0;
    }
    await agent.deleteProcess(ref("c1"));
  });

  it("runs a program and reports its exit to earlier and later waiters until it is deleted", async () => {
    const before = guest.fake.openFds;
    const { pid } = await create("c1", "exit3");
    const waiting = agent.waitProcess(ref("c1"));
    assert.equal((await agent.startProcess(ref("c1"))).pid, pid);
    const [early, late] = [await waiting, await agent.waitProcess(ref("c1"))];
    assert.equal(early.exitStatus, 3);
    assert.deepEqual(early, late);
    assert.ok(early.exitedAtUnixNano > 0n);
    await agent.deleteProcess(ref("c1"));
    await assert.rejects(agent.waitProcess(ref("c1")), code("NotFound"));
    assert.equal(guest.fake.openFds, before);
    assert.equal(guest.fake.tree.has("/run/hull/containers/c1"), false);
    assert.equal(guest.fake.tree.has("/sys/fs/cgroup/hull/c1"), false);
    assert.equal(guest.fake.tree.has("/run/crun/c1"), false);
  });

  it("refuses bad ids, specs and states and a second create, and frees the id of a failed create", async () => {
    for (const id of ["", "..", "a/b", "-x", "x".repeat(129)])
      await assert.rejects(create(id, "idle"), code("InvalidArgument"));
    await assert.rejects(
      agent.createContainer({
        containerId: "c",
        spec: new TextEncoder().encode("{"),
        stdio: NO_STDIO,
        blockDevices: [],
        pciDevices: [],
        ownDevices: [],
        moduleDirectory: "",
        rootDisk: undefined,
      }),
      code("InvalidArgument"),
    );
    await assert.rejects(create("c", "nonesuch"), /exec: "nonesuch": executable file not found in \$PATH/);
    await create("c", "idle");
    await assert.rejects(create("c", "idle"), code("AlreadyExists"));
    await assert.rejects(
      agent.pauseContainer({ containerId: "c" }),
      /cannot pause container c in created state/,
    );
    await agent.startProcess(ref("c"));
    await assert.rejects(agent.startProcess(ref("c")), code("FailedPrecondition"));
    await assert.rejects(agent.deleteProcess(ref("c")), code("FailedPrecondition"));
  });

  it("deletes a container whose create is pending once it exists", async () => {
    let open = (): void => undefined;
    guest.gate = new Promise((resolve) => {
      open = resolve;
    });
    const creating = create("c", "idle");
    await guest.fake.settle();
    const deleting = agent.deleteProcess(ref("c"));
    await guest.fake.settle();
    open();
    await Promise.all([creating, deleting]);
    assert.equal(guest.fake.tree.has("/run/hull/containers/c"), false);
    await run("c", "exit3");
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 3);
  });

  it("answers NotFound to a delete if the pending create fails", async () => {
    const creating = create("c", "nonesuch");
    const deleting = agent.deleteProcess(ref("c"));
    await assert.rejects(creating, /nonesuch/);
    await assert.rejects(deleting, code("NotFound"));
  });

  it("reports crun's message and leaves nothing behind if crun fails", async () => {
    guest.failure = "mount `x` to `y`: Invalid argument";
    const token = newToken();
    await assert.rejects(
      create("c", "idle", { ...NO_STDIO, stdoutToken: token }),
      /mount `x` to `y`: Invalid argument/,
    );
    await create("c", "idle", { ...NO_STDIO, stdoutToken: token });
  });

  it("does not report a missing file of its own as a missing container", async () => {
    await run("c", "exit3");
    guest.fake.lstat = () => {
      throw sysError("ENOENT", "lstat");
    };
    await assert.rejects(agent.deleteProcess(ref("c")), code("Internal"));
  });

  it("deletes a container that was never started, and one whose init was killed before", async () => {
    await create("c", "idle");
    const waiting = agent.waitProcess(ref("c"));
    await agent.deleteProcess(ref("c"));
    assert.equal((await waiting).exitStatus, 137);
    await create("d", "idle");
    await signal("d", 9);
    assert.equal((await agent.waitProcess(ref("d"))).exitStatus, 137);
    await assert.rejects(agent.startProcess(ref("d")), code("FailedPrecondition"));
    await agent.deleteProcess(ref("d"));
  });

  it("deletes a container once: a concurrent second delete gets NotFound", async () => {
    await run("c", "exit3");
    const [first, second] = await Promise.allSettled([
      agent.deleteProcess(ref("c")),
      agent.deleteProcess(ref("c")),
    ]);
    assert.equal(first.status, "fulfilled");
    assert.ok(second.status === "rejected" && code("NotFound")(second.reason));
  });

  it("pauses and resumes through the cgroup and refuses execs meanwhile", async () => {
    await run("c", "idle");
    await agent.pauseContainer({ containerId: "c" });
    await assert.rejects(
      agent.createExec({ ...ref("c", "e"), process: processOf("idle"), stdio: NO_STDIO }),
      code("FailedPrecondition"),
    );
    await agent.resumeContainer({ containerId: "c" });
    await agent.createExec({ ...ref("c", "e"), process: processOf("idle"), stdio: NO_STDIO });
  });

  it("answers stats and kill while a create hangs", async () => {
    await run("c", "idle");
    let open = (): void => undefined;
    guest.gate = new Promise((resolve) => {
      open = resolve;
    });
    const hanging = create("slow", "idle");
    assert.equal((await agent.statsContainer({ containerId: "c" })).cgroupFiles["memory.current"], "4096\n");
    await signal("c", 9);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 137);
    open();
    await hanging;
  });
});

describe("agent: execs", () => {
  beforeEach(started);

  it("have their own exit codes, and ids per container", async () => {
    await run("a", "idle");
    await run("b", "idle");
    for (const id of ["a", "b"])
      await agent.createExec({ ...ref(id, "e"), process: processOf("exit3"), stdio: NO_STDIO });
    await assert.rejects(
      agent.createExec({ ...ref("a", "e"), process: processOf("exit3"), stdio: NO_STDIO }),
      code("AlreadyExists"),
    );
    await agent.startProcess(ref("a", "e"));
    assert.equal((await agent.waitProcess(ref("a", "e"))).exitStatus, 3);
    await agent.deleteProcess(ref("a", "e"));
    await assert.rejects(agent.startProcess(ref("a", "e")), code("NotFound"));
    await agent.deleteProcess(ref("b", "e"));
  });

  it("exit with 127 for a missing program, which does not affect the container", async () => {
    await run("c", "idle");
    await agent.createExec({ ...ref("c", "e"), process: processOf("/none"), stdio: NO_STDIO });
    await assert.rejects(
      agent.startProcess(ref("c", "e")),
      /exec: "\/none": stat \/none: no such file or directory/,
    );
    assert.equal((await agent.waitProcess(ref("c", "e"))).exitStatus, 127);
    await signal("c", 9);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 137);
  });

  it("report their exits before init's", async () => {
    await run("c", "idle");
    await agent.createExec({ ...ref("c", "e"), process: processOf("idle"), stdio: NO_STDIO });
    await agent.startProcess(ref("c", "e"));
    const order: string[] = [];
    const both = [
      agent.waitProcess(ref("c")).then(() => order.push("init")),
      agent.waitProcess(ref("c", "e")).then(() => order.push("exec")),
    ];
    await signal("c", 9);
    await Promise.all(both);
    assert.deepEqual(order, ["exec", "init"]);
  });
});

describe("agent: signals", () => {
  beforeEach(started);

  const term = (escalation: SigtermEscalation, escalationMs = 0) =>
    signal("c", 15, { escalation, escalationMs });
  const { ESCALATION_NEVER, ESCALATION_UNHANDLED, ESCALATION_AFTER, ESCALATION_IMMEDIATE } =
    SigtermEscalation;

  it("UNHANDLED kills an init without a handler and lets one with a handler exit", async () => {
    await run("c", "idle");
    await term(ESCALATION_UNHANDLED);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 137);
    await agent.deleteProcess(ref("c"));
    guest.scripts.set("handler", (process) => {
      process.handlers.set(15, () => process.exit(7));
      guest.refresh();
    });
    await run("c", "handler");
    await term(ESCALATION_UNHANDLED);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 7);
    await assert.rejects(term(ESCALATION_UNHANDLED), code("NotFound"));
  });

  it("NEVER only sends SIGTERM, AFTER kills after the timeout, IMMEDIATE at once", async () => {
    await run("c", "idle");
    await term(ESCALATION_NEVER);
    await guest.fake.settle();
    assert.equal(guest.processes.size, 1);
    await term(ESCALATION_AFTER, 500);
    guest.fake.advance(499);
    assert.equal(guest.processes.size, 1);
    guest.fake.advance(1);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 137);
    await agent.deleteProcess(ref("c"));
    await run("c", "idle");
    await term(ESCALATION_IMMEDIATE);
    assert.equal((await agent.waitProcess(ref("c"))).exitStatus, 137);
  });

  it("refuses numbers that are not signals", async () => {
    await run("c", "idle");
    await assert.rejects(signal("c", 65), code("InvalidArgument"));
  });
});

describe("agent: stdio", () => {
  beforeEach(started);

  it("delivers output written before the host connected, and counts it", async () => {
    const token = newToken();
    guest.scripts.set("hello", (process) => {
      process.print("hello");
      process.exit(0);
    });
    await create("c", "hello", { ...NO_STDIO, stdoutToken: token });
    await agent.startProcess(ref("c"));
    assert.equal((await agent.waitProcess(ref("c"))).stdoutBytes, 5n);
    const stream = openStream(guest, token);
    await guest.fake.settle();
    assert.equal(text(guest.fake.received(stream)), "hello");
    assert.equal(stream.input?.writers, 1, "the agent lets the host close the stream");
    await agent.deleteProcess(ref("c"));
    assert.equal(stream.input?.writers, 0);
  });

  it("passes stdin until the host closes it", async () => {
    const token = newToken();
    await create("c", "idle", { ...NO_STDIO, stdinToken: token });
    await agent.startProcess(ref("c"));
    const stream = openStream(guest, token);
    guest.fake.send(stream, "input");
    await guest.fake.settle();
    const process = guest.process("idle");
    assert.equal(process.read(), "input");
    assert.equal(process.files[0]?.input?.writers, 1);
    guest.fake.hangUp(stream);
    await guest.fake.settle();
    assert.equal(process.files[0]?.input?.writers, 0);
  });

  it("sets a terminal's latest size and counts its output", async () => {
    const token = newToken();
    guest.scripts.set("tty", (process) => process.print("$ "));
    await create("c", "tty", {
      ...NO_STDIO,
      terminal: true,
      stdoutToken: token,
      terminalWidth: 80,
      terminalHeight: 24,
    });
    await agent.resizeTerminal({ ...ref("c"), width: 100, height: 40 });
    await agent.startProcess(ref("c"));
    const stream = openStream(guest, token);
    await guest.fake.settle();
    assert.equal(text(guest.fake.received(stream)), "$ ");
    assert.deepEqual(
      guest.fake.calls.filter((call) => call.startsWith("setWindowSize")),
      ["setWindowSize 80x24", "setWindowSize 100x40"],
    );
    await signal("c", 9);
    assert.equal((await agent.waitProcess(ref("c"))).stdoutBytes, 2n);
  });

  it("closes a connection with a wrong, used, long or late token", async () => {
    const token = newToken();
    await create("c", "idle", { ...NO_STDIO, stdoutToken: token });
    assert.equal(openStream(guest, token).input?.writers, 1);
    await guest.fake.settle();
    for (const line of [`${newToken()}\n`, `${token}\n`, "x".repeat(40)]) {
      const stream = guest.fake.dial(guest.listeners.stdio);
      guest.fake.send(stream, line);
      await guest.fake.settle();
      assert.equal(stream.input?.writers, 0);
    }
    const late = guest.fake.dial(guest.listeners.stdio);
    await guest.fake.settle();
    guest.fake.advance(60_000);
    assert.equal(late.input?.writers, 0);
  });

  it("refuses malformed and repeated tokens", async () => {
    await assert.rejects(create("c", "idle", { ...NO_STDIO, stdoutToken: "zz" }), code("InvalidArgument"));
    const token = newToken();
    const twice = { ...NO_STDIO, stdoutToken: token, stderrToken: token };
    await assert.rejects(create("c", "idle", twice), code("AlreadyExists"));
    await create("c", "idle", { ...NO_STDIO, stdoutToken: token });
  });
});

describe("agent: OOM events", () => {
  beforeEach(started);

  it("sends one event per increase and reports it to the waiter", async () => {
    const counts: bigint[] = [];
    const reading = (async () => {
      for await (const { event } of agent.events({})) if (event) counts.push(event.value.oomKillCount);
    })();
    reading.catch(() => undefined); // ends with the connection
    await run("c", "idle");
    for (const total of [1, 1, 3]) {
      guest.oomKill("c", total);
      await guest.fake.settle();
    }
    await signal("c", 9);
    assert.equal((await agent.waitProcess(ref("c"))).oomKilled, true);
    assert.deepEqual(counts, [1n, 3n]);
  });
});

describe("agent: sandbox", () => {
  const request = {
    hostname: "pod",
    timeUnixNano: 1_700_000_000_000_000_000n,
    entropy: new Uint8Array(32),
    shares: [{ tag: "hull", target: "/run/hull/share", readOnly: true }],
    sysctls: {},
    interfaces: [],
    routes: [],
    neighbours: [],
    shmSize: 1n << 26n,
    maxShareFiles: 0,
    forwardToken: "0123456789abcdef0123456789abcdef",
  };

  it("sets clock, entropy, name, machine id, loopback and mounts, once", async () => {
    await agent.startSandbox({ ...request, hostname: "my_pod.1-" });
    assert.match(text(guest.fake.readFile("/etc/machine-id")), /^[0-9a-f]{32}\n$/);
    assert.deepEqual(guest.fake.calls, [
      "setClock 1700000000000000000",
      "addEntropy 32",
      "setHostname my_pod.1-",
      "netlink 16",
      "mount shm /dev/shm tmpfs 38 mode=1777,size=67108864",
      "mount hull /run/hull/share virtiofs 5 ",
    ]);
    await assert.rejects(agent.startSandbox(request), code("FailedPrecondition"));
  });

  it("checks everything before it changes anything", async () => {
    const bad = [
      { hostname: "a b" },
      { hostname: "a".repeat(65) },
      { entropy: new Uint8Array(31) },
      { shares: [{ tag: "hull", target: "/etc", readOnly: false }] },
      { shares: [{ tag: "hull", target: "/run/hull/../../etc", readOnly: false }] },
      { sysctls: { "../../etc/passwd": "x" } },
      { forwardToken: "0123456789ABCDEF0123456789ABCDEF" },
    ];
    for (const change of bad)
      await assert.rejects(agent.startSandbox({ ...request, ...change }), code("InvalidArgument"));
    assert.deepEqual(guest.fake.calls, []);
  });
});

describe("agent: access", () => {
  it("refuses calls that would leave something in a VM without a pod", async () => {
    const calls: (() => Promise<unknown>)[] = [
      () => create("c1", "idle"),
      () => agent.createExec({ ...ref("c1", "e"), process: processOf("idle"), stdio: NO_STDIO }),
      () => agent.updateNetwork({ interfaces: [], routes: [], neighbours: [], moduleDirectory: "" }),
      () => agent.onlineResources({ vcpus: 1, memoryMib: 1 }),
      async () => {
        for await (const event of agent.events({})) assert.fail(JSON.stringify(event));
      },
    ];
    for (const call of calls) {
      await assert.rejects(call(), (error: HullError) => {
        assert.match(error.message, /sandbox: not started/);
        return error.code === "FailedPrecondition";
      });
    }
    assert.deepEqual([guest.crunCalls, guest.fake.calls], [[], []]);
    await started();
    await create("c1", "idle");
  });

  it("has one connection: the newest until the VM belongs to a pod, none other after that", async (t) => {
    const earlier = guest.fake.dial(guest.listeners.agent);
    await guest.fake.settle();
    const later = connectAgent(guest);
    t.after(() => later.close());
    await later.agent.startSandbox(SANDBOX);
    assert.equal(earlier.input?.writers, 0, "the earlier one was closed");
    assert.throws(() => guest.fake.dial(guest.listeners.agent), /EBADF/);
    await later.agent.hello({ protocolMajor: 2 });
  });
});

describe("agent: hello and shutdown", () => {
  it("refuses another protocol version and powers off after its answer", async () => {
    assert.equal((await agent.hello({ protocolMajor: 2 })).kernelRelease, "6.1.0-fake");
    await assert.rejects(agent.hello({ protocolMajor: 3 }), code("FailedPrecondition"));
    await agent.shutdown({});
    guest.fake.advance(0);
    assert.deepEqual(guest.fake.calls, ["sync", `reboot ${0x4321fedc}`]);
  });
});
