import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync } from "node:fs";
import { chmod, copyFile, mkdtemp, open, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { pollUntil } from "../core/poll-until.ts";
import { findByMark, isAlive, limitOf, startTimeOf } from "./proc.ts";
import { launch } from "./process-launcher.ts";

const pod = `test/launcher-${process.pid}`;

test("records before the spawn, with PID and start time after it, and forgets at the exit", async () => {
  const ledger = new MemoryLedger();
  const started = await launch({ role: "sleeper", argv: ["/bin/sleep", "60"], pod }, ledger);
  const identity = { pid: started.pid, startTime: startTimeOf(started.pid) };
  assert.deepEqual(ledger.history, [
    { kind: "process", role: "sleeper" },
    { kind: "process", role: "sleeper", ...identity },
  ]);
  assert.deepEqual(await findByMark(pod), [identity]);
  await started.stop(within(30_000));
  await started.stop(within(30_000));
  assert.deepEqual(ledger.resources, []);
  const exit = await started.exited;
  assert.equal(exit.signal, "SIGTERM");
  assert.equal(exit.requested, true);
});

test("the exit has the status and the last line of stderr", async () => {
  const argv = ["/bin/sh", "-c", "echo one >&2; echo the cause >&2; exit 7"] as const;
  const exit = await (await launch({ role: "helper", argv, pod }, new MemoryLedger())).exited;
  assert.equal(exit.code, 7);
  assert.equal(exit.reason, "helper exited with status 7: the cause");
  assert.equal(exit.stderr, "one\nthe cause\n");
  assert.equal(exit.requested, false);
});

test("a process that prints a fatal message is killed", async () => {
  const argv = ["/bin/sh", "-c", "echo thread 'x' panicked at y >&2; exec sleep 60"] as const;
  const broken = await launch({ role: "helper", argv, pod, fatal: /panicked at/ }, new MemoryLedger());
  const exit = await broken.exited;
  assert.equal(exit.signal, "SIGKILL");
  assert.equal(exit.requested, false);
  assert.match(exit.reason, /helper was killed by SIGKILL: thread x panicked at y/);
});

test("a process whose PID cannot be recorded is killed", async () => {
  const update = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" }));
  const ledger = { record: async () => ({ update, forget: async () => undefined }) };
  await assert.rejects(launch({ role: "sleeper", argv: ["/bin/sleep", "60"], pod }, ledger), /ENOSPC/);
  assert.deepEqual(await findByMark(pod), []);
});

test("a missing program is FailedPrecondition and leaves no record", async () => {
  const ledger = new MemoryLedger();
  await assert.rejects(launch({ role: "helper", argv: ["/no/such/program"], pod }, ledger), {
    code: "FailedPrecondition",
    message: /\/no\/such\/program.*configuration/,
  });
  await assert.rejects(launch({ role: "helper", argv: ["/bin/true"], pod, netns: "/no/netns" }, ledger), {
    code: "FailedPrecondition",
    message: /network namespace/,
  });
  assert.deepEqual(ledger.history, []);
});

test("a process cannot gain privileges, and gets its own empty network namespace if asked", async () => {
  const argv = [
    "/bin/sh",
    "-c",
    "grep NoNewPrivs /proc/self/status; wc -l </proc/net/dev; exec sleep 60",
  ] as const;
  const said = deferred<string>();
  let text = "";
  const onStdout = (data: Buffer) => {
    text += String(data);
    if (text.split("\n").length > 2) said.resolve(text);
  };
  const started = await launch({ role: "alone", argv, pod, ownNetns: true, onStdout }, new MemoryLedger());
  assert.equal(await said.promise, "NoNewPrivs:\t1\n3\n"); // two lines of headings, and lo
  await started.stop(Deadline.after(5000));
});

for (const [name, end] of [
  ["it is told to end", (_pid: number, stop: () => Promise<void>) => stop()],
  ["somebody kills it", async (pid: number) => void process.kill(pid, "SIGKILL")],
] as const) {
  test(`a process's stopped child does not outlive it when ${name}`, async () => {
    const argv = ["/bin/sh", "-c", "sleep 60 & kill -STOP $!; echo $!; wait"] as const;
    const forked = deferred<number>();
    const onStdout = (data: Buffer) => forked.resolve(Number(String(data)));
    const ledger = new MemoryLedger();
    const started = await launch({ role: "forker", argv, pod, onStdout }, ledger);
    const child = await forked.promise;
    const startTime = startTimeOf(child) ?? "";
    assert.ok(isAlive(child, startTime));
    await end(started.pid, () => started.stop(within(30_000)));
    await started.exited;
    assert.ok(!isAlive(child, startTime));
    assert.deepEqual(ledger.resources, []);
  });
}

test("a recorded fork is killed with its process even if it has lost its mark", async () => {
  const argv = ["/bin/sh", "-c", "env -i sleep 60 & echo $!; wait"] as const;
  const forked = deferred<number>();
  const onStdout = (data: Buffer) => forked.resolve(Number(String(data)));
  const ledger = new MemoryLedger();
  const started = await launch({ role: "forker", argv, pod, onStdout }, ledger);
  const child = await forked.promise;
  await pollUntil(async () => (await readFile(`/proc/${child}/environ`, "utf8")) === "", within(30_000));
  await started.recordForks(within(30_000));
  const startTime = startTimeOf(child) ?? "";
  assert.deepEqual(ledger.resources[1], { kind: "process", role: "forker", pid: child, startTime });
  process.kill(started.pid, "SIGKILL");
  await started.exited;
  assert.ok(!isAlive(child, startTime));
  assert.deepEqual(ledger.resources, []);
});

test("a process that ignores SIGTERM is killed at the deadline", async () => {
  const argv = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"] as const;
  let ready = () => undefined as unknown;
  const announced = new Promise((resolve) => {
    ready = () => resolve(undefined);
  });
  const started = await launch({ role: "stubborn", argv, pod, onStdout: () => ready() }, new MemoryLedger());
  await announced;
  await started.stop(Deadline.after(100));
  assert.equal((await started.exited).signal, "SIGKILL");
});

test("a stopped process that handles SIGTERM is killed long before the deadline", async () => {
  for (const polite of [undefined, () => new Promise(() => undefined)]) {
    let ready = () => undefined as unknown;
    const announced = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const argv = ["/bin/sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 1; done"] as const;
    const spec = { role: "stopped", argv, pod, onStdout: () => ready() };
    const started = await launch(spec, new MemoryLedger());
    await announced;
    process.kill(started.pid, "SIGSTOP");
    const deadline = Deadline.after(60_000);
    await started.stop(deadline, polite);
    assert.equal(deadline.reason, undefined);
    assert.equal((await started.exited).signal, "SIGKILL");
    deadline.dispose();
  }
});

test("a process is stopped even if its forks cannot be found", async () => {
  const directory = await mkdtemp(join(tmpdir(), "hull-launch-"));
  const fifo = join(directory, "fifo");
  await once(spawn("mkfifo", [fifo]), "exit");
  const started = await launch({ role: "sleeper", argv: ["/bin/sleep", "60"], pod }, new MemoryLedger());
  // As with a volume whose server is gone: all of Node's threads for files wait in the kernel.
  const stuck = Array.from({ length: 8 }, () => open(fifo, "r"));
  const limit = within(30_000);
  try {
    await limit.race(started.stop(limit));
    assert.equal((await started.exited).signal, "SIGTERM");
  } finally {
    const writer = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    for (const file of stuck) await (await file).close();
    closeSync(writer);
  }
  await rm(directory, { recursive: true });
});

test("a polite step comes first; if it fails, SIGTERM is sent", async () => {
  const first = await launch({ role: "sleeper", argv: ["/bin/sleep", "60"], pod }, new MemoryLedger());
  await first.stop(within(30_000), async () => process.kill(first.pid, "SIGINT"));
  assert.equal((await first.exited).signal, "SIGINT");
  const second = await launch({ role: "sleeper", argv: ["/bin/sleep", "60"], pod }, new MemoryLedger());
  await second.stop(within(30_000), () => Promise.reject(new Error("no")));
  assert.equal((await second.exited).signal, "SIGTERM");
});

test("an exit is reported even if a process without the pod's mark keeps the pipes open", async () => {
  const argv = ["/bin/sh", "-c", "env -u HULL_POD sleep 600 & echo $!; exit 0"] as const;
  let keeper = "";
  const onStdout = (chunk: Buffer) => {
    keeper += chunk;
  };
  await (await launch({ role: "helper", argv, pod, onStdout }, new MemoryLedger())).exited;
  process.kill(Number(keeper), "SIGKILL"); // it is still there
});

test("inherited descriptors are numbered from 3; the environment is scrubbed", async () => {
  const directory = await mkdtemp(join(tmpdir(), "hull-launch-"));
  const file = openSync(join(directory, "out"), "w");
  const argv = ["/bin/sh", "-c", "env | cut -d= -f1 | sort | tr '\\n' ' ' >&3"] as const;
  const exit = await (
    await launch({ role: "helper", argv, pod, fds: [file], env: { A: "1" } }, new MemoryLedger())
  ).exited;
  closeSync(file);
  assert.equal(exit.code, 0);
  assert.equal(await readFile(join(directory, "out"), "utf8"), "A HULL_POD HULL_ROLE LC_ALL PATH PWD ");
  await rm(directory, { recursive: true });
});

test("a process starts in the given network namespace", async () => {
  const holder = spawn("unshare", ["--net", "sleep", "60"]);
  try {
    const mine = await readlink("/proc/self/ns/net");
    const netns = `/proc/${holder.pid}/ns/net`;
    for (const end = Date.now() + 5000; (await readlink(netns)) === mine && Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const started = await launch(
      { role: "sleeper", argv: ["/bin/sleep", "60"], pod, netns },
      new MemoryLedger(),
    );
    for (
      const end = Date.now() + 5000;
      (await readlink(`/proc/${started.pid}/ns/net`)) === mine && Date.now() < end;
    ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(await readlink(`/proc/${started.pid}/ns/net`), await readlink(netns));
    await started.stop(within(30_000));
  } finally {
    holder.kill("SIGKILL");
    await once(holder, "exit");
  }
});

test("a process dies with its parent, even by SIGKILL", async () => {
  const script = `
    const module = await import("./src/host/process-launcher.ts");
    const { launch } = module.default ?? module; // as CommonJS here: package.json has no "type"
    const entry = { update: async () => undefined, forget: async () => undefined };
    const { readFileSync } = await import("node:fs");
    const started = await launch({ role: "x", argv: ["/bin/sleep", "60"], pod: ${JSON.stringify(pod)},
      onStdout: () => undefined }, { record: async () => entry });
    const named = () => readFileSync("/proc/" + started.pid + "/cmdline", "latin1").startsWith("/bin/sleep");
    while (!named()) await new Promise((resolve) => setTimeout(resolve, 5));
    console.log(started.pid);`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  const startTime = startTimeOf(pid) ?? assert.fail("the child is not there");
  parent.kill("SIGKILL");
  await once(parent, "exit");
  for (const end = Date.now() + 5000; isAlive(pid, startTime) && Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(!isAlive(pid, startTime));
});

test("another user's process has no privileges, even if its program is in root's directory", async () => {
  const directory = await mkdtemp(join(tmpdir(), "hull-launch-user-")); // 0700
  const program = join(directory, "program");
  await copyFile("/bin/sleep", program);
  const user = { id: 1_500_000_004 };
  const started = await launch({ role: "helper", argv: [program, "60"], pod, user }, new MemoryLedger());
  const status = await statusAfterExec(started.pid);
  const limits = await readFile(`/proc/${started.pid}/limits`, "utf8");
  await started.stop(within(30_000));
  // Otherwise it could use up the host's PIDs, and nothing could be started to kill it.
  const most = Math.min(4096, await limitOf("self", "processes"));
  assert.match(limits, RegExp(`^Max processes +${most} +${most} `, "m"));
  assert.match(status, /^Uid:\t1500000004\t1500000004\t1500000004\t1500000004$/m);
  assert.match(status, /^Gid:\t1500000004\t1500000004\t1500000004\t1500000004$/m);
  assert.match(status, /^Groups:\t *$/m);
  for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"])
    assert.match(status, RegExp(`^Cap${set}:\t0+$`, "m"));
  assert.match(status, /^NoNewPrivs:\t1$/m);
  await chmod(program, 0o700);
  const ledger = new MemoryLedger();
  await assert.rejects(launch({ role: "helper", argv: [program, "60"], pod, user }, ledger), {
    code: "FailedPrecondition",
  });
  assert.deepEqual(ledger.resources, []);
  await rm(directory, { recursive: true });
});

/** Returns /proc/PID/status once setpriv has become the program. */
async function statusAfterExec(pid: number): Promise<string> {
  for (;;) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    if (status.startsWith("Name:\tprogram\n")) return status;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
