/**
 * The helper for port-forward, with a fake guest: its privileges, and its behaviour when it cannot serve
 * more.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { Deadline } from "../../src/core/deadline.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { limitOf } from "../../src/host/proc.ts";
import type { HostProcess } from "../../src/host/process-launcher.ts";
import { createNetns } from "../../src/network/own-netns.ts";
import { startPodLocalhost } from "../../src/network/pod-localhost.ts";
import { ROOT } from "../testkit/containerd.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";

const run = promisify(execFile);
const HELPER = join(ROOT, "dist/libexec/pod-localhost");
const USER = { id: 1_500_000_001 };
const LIMIT_MS = 120_000;
const NONE = "0000000000000000";
const MOST = 128;
const TOKEN = "0123456789abcdef0123456789abcdef";
/** Bytes of the token and the port. */
const GREETING = TOKEN.length + 2;

let root: string;
let netns: string;
let release: Awaited<ReturnType<typeof createNetns>>;
let directory: string;
let guest: Server;
/** What the fake guest does with a connection once it has got a CONNECT. */
let behave: (socket: Socket) => void;
let helper: HostProcess | undefined;
let shell: ChildProcess | undefined;
const sockets: Socket[] = [];

before(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-localhost-"));
  netns = join(root, "netns");
  release = await inTime((deadline) => createNetns(netns, new MemoryLedger(), deadline));
});
after(async () => {
  await inTime(release);
  await rm(root, { recursive: true });
});

beforeEach(async () => {
  directory = await mkdtemp(join(root, "pod-"));
  const vm = join(directory, "vm");
  await mkdir(vm, { mode: 0o700 });
  guest = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.once("data", (line) => {
      assert.equal(String(line), "CONNECT 1027\n");
      behave(socket);
    });
  });
  guest.listen(join(vm, "vs"));
  await once(guest, "listening");
});
afterEach(async () => {
  await inTime(async (deadline) => await helper?.stop(deadline));
  helper = undefined;
  shell?.kill("SIGKILL");
  shell = undefined;
  for (const socket of sockets.splice(0)) socket.destroy();
  guest.close();
});

/** Echoes frames, skipping token and port. */
function echo(socket: Socket): void {
  socket.write("OK 1\n");
  let greeting = GREETING;
  socket.on("data", (data: Buffer) => {
    const frames = data.subarray(greeting);
    greeting = Math.max(0, greeting - data.length);
    socket.write(frames);
  });
  socket.on("end", () => socket.end());
}

/** As in a pod: the socket is in a directory of the pod's user, below one that only root may enter. */
async function handOver(user: { id: number }): Promise<void> {
  for (const path of ["vm/vs", "vm"]) await chown(join(directory, path), user.id, user.id);
}

async function start(user?: { id: number }): Promise<HostProcess> {
  const vsock = join(directory, "vm/vs");
  if (user) await handOver(user);
  const spec = { path: HELPER, pod: "test/p", netns, vsock, token: TOKEN, user };
  helper = await startPodLocalhost(spec, new MemoryLedger());
  // It sets the filter last, before it serves.
  await eventually(async () => (await statusOf((helper as HostProcess).pid)).Seccomp === "2");
  return helper;
}

async function inTime<T>(work: (deadline: Deadline) => Promise<T>): Promise<T> {
  const deadline = Deadline.after(LIMIT_MS);
  return await work(deadline).finally(() => deadline.dispose());
}

const eventually = (holds: () => boolean | Promise<boolean>) =>
  inTime((deadline) => pollUntil(holds, deadline));

/** Starts it as a child of a shell, through another program. */
async function startBelow(...by: readonly string[]): Promise<number> {
  await handOver(USER);
  const argv = [...by, "nsenter", `--net=${netns}`, "--", HELPER, join(directory, "vm/vs"), String(USER.id)];
  const env = { ...process.env, HULL_FORWARD_TOKEN: TOKEN };
  const started = spawn("sh", ["-c", '"$@" & echo $!; wait', "sh", ...argv], { env });
  shell = started;
  const [line] = (await once(started.stdout, "data")) as [Buffer];
  const pid = Number(line);
  await eventually(async () => (await statusOf(pid)).Seccomp === "2");
  return pid;
}

async function statusOf(pid: number): Promise<Record<string, string>> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Object.fromEntries(text.split("\n").map((line) => line.split(":\t")));
}

/** The descendants of `pid`. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const own = text.split(" ").filter(Boolean).map(Number);
  return [...own, ...(await Promise.all(own.map(childrenOf))).flat()];
}

/**
 * Runs a script in the namespace. There `connect()` resolves with `echoed` or how the connection ended;
 * `unserved()` resolves once the helper has at most `count` connections.
 */
async function inPod(script: string): Promise<unknown> {
  const source = `
    const net = require("node:net");
    const connect = () => new Promise((resolve) => {
      const socket = net.connect({ port: 80, host: "127.0.0.1", allowHalfOpen: true });
      socket.on("error", (error) => resolve({ socket, end: error.code }));
      socket.on("end", () => resolve({ socket, end: "end" }));
      socket.on("data", () => resolve({ socket, end: "echoed" }));
      socket.write("x");
    });
    const { readFileSync } = require("node:fs");
    const unserved = async (count) => {
      const served = () => readFileSync("/proc/${helper?.pid}/task/${helper?.pid}/children", "latin1").split(" ").length - 1;
      while (served() > count) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    (async () => console.log(JSON.stringify(await (async () => { ${script} })())))().then(() => process.exit(0));`;
  const argv = [`--net=${netns}`, "--", process.execPath, "-e", source];
  return JSON.parse((await run("nsenter", argv, { timeout: LIMIT_MS })).stdout);
}

for (const user of [USER, undefined]) {
  test(`pod-localhost has no privileges left as ${user ? "the pod's user" : "root"}, nor have its children`, async () => {
    const { pid } = await start(user);
    const seen: Record<string, string>[] = [];
    let [received, argv, limits] = ["", "", ""];
    behave = (socket) => {
      socket.write("OK 1\n");
      socket.on("data", async (data: Buffer) => {
        received += data.toString("latin1");
        // The frame of one byte has arrived: the connection has its process now.
        if (received.length !== GREETING + 3) return;
        argv = await readFile(`/proc/${pid}/cmdline`, "latin1");
        for (const each of [pid, ...(await childrenOf(pid))]) seen.push(await statusOf(each));
        limits = await readFile(`/proc/${pid}/limits`, "latin1");
        socket.write(Buffer.from([0, 1, 120]));
      });
    };
    assert.equal(await inPod("return (await connect()).end"), "echoed");
    assert.equal(received.slice(0, GREETING + 3), `${TOKEN}\0\x50\0\x01x`);
    assert.ok(argv.includes(HELPER) && !argv.includes(TOKEN), argv);
    assert.equal(seen.length, 2);
    const most = Math.min(4096, await limitOf("self", "processes"));
    assert.match(limits, RegExp(`^Max processes +${most} +${most} `, "m"));
    for (const status of seen) {
      const ids = `${status.Uid}\t${status.Gid}`.split("\t").map(Number);
      assert.deepEqual(new Set(ids), new Set([user?.id ?? 0]));
      assert.equal(status.Groups?.trim(), "");
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
        assert.equal(status[set], NONE, set);
      assert.deepEqual([status.NoNewPrivs, status.Seccomp], ["1", "2"]);
    }
  });
}

test(`pod-localhost serves ${MOST} connections at a time, resets further ones, and accepts again when one is closed`, async () => {
  behave = echo;
  const { pid } = await start(USER);
  const result = await inPod(`
    const first = await Promise.all(Array.from({ length: ${MOST} }, connect));
    const further = [(await connect()).end, (await connect()).end];
    first[0].socket.destroy();
    let tries = 0, again;
    while ((again = (await connect()).end) !== "echoed" && ++tries < 1000) await new Promise((resolve) => setTimeout(resolve, 20));
    return [first.filter(({ end }) => end === "echoed").length, ...further, again];`);
  assert.deepEqual(result, [MOST, "ECONNRESET", "ECONNRESET", "echoed"]);
  await eventually(async () => (await childrenOf(pid)).length === 0);
});

const END = Buffer.from([0, 0]);

test("a disconnected client frees its slot although the guest never closes the stream; one that half-closes is served", async () => {
  // How long the kernel answers for a client that has closed; the default is a minute.
  await run("nsenter", [`--net=${netns}`, "--", "sysctl", "-w", "net.ipv4.tcp_fin_timeout=1"]);
  // Echoes, then sends nothing until the client has half-closed.
  behave = (socket) => {
    let received = Buffer.alloc(0);
    socket.write("OK 1\n");
    socket.on("data", (data: Buffer) => {
      received = Buffer.concat([received, data]);
      const answers = received.subarray(GREETING).equals(Buffer.from([0, 1, 120]));
      if (answers) socket.write(received.subarray(GREETING));
      if (received.includes("now"))
        for (const each of sockets) each.write(Buffer.from([0, 4, ...Buffer.from("last"), ...END]));
    });
  };
  await start(USER);
  const result = await inPod(`
    const [closed, reset, half, teller] = await Promise.all([1, 2, 3, 4].map(connect));
    half.socket.end();
    closed.socket.destroy();
    reset.socket.resetAndDestroy();
    await unserved(2);
    const last = new Promise((resolve) => half.socket.on("data", (data) => resolve(String(data))));
    teller.socket.write("now");
    return [closed.end, reset.end, half.end, await last];`);
  assert.deepEqual(result, ["echoed", "echoed", "echoed", "last"]);
  await eventually(async () => (await childrenOf((helper as HostProcess).pid)).length === 0);
});

test("a disconnected client frees its slot although the guest does not read what it has sent", async () => {
  behave = (socket) => {
    socket.write(Buffer.from("OK 1\n\0\x01x", "latin1"));
    socket.pause();
  };
  const { pid } = await start(USER);
  await inPod(`
    const socket = net.connect({ port: 80, host: "127.0.0.1" }).pause();
    // Until all buffers in between are full.
    await new Promise((resolve) => {
      const send = () => {
        const stuck = setTimeout(resolve, 1000);
        socket.write(Buffer.alloc(1 << 20), () => { clearTimeout(stuck); send(); });
      };
      socket.on("connect", send).on("error", () => undefined);
    });
    // Unread data makes the exit of the process a reset.
    return null;`);
  await eventually(async () => (await childrenOf(pid)).length === 0);
});

test("what a client has sent reaches a guest that has ended its own direction first", async () => {
  const size = 256 << 10; // more than the buffers to the guest, less than those and TCP's
  const guestSide = new Promise<Socket>((resolve) => {
    behave = (socket) => {
      socket.write(Buffer.from("OK 1\n\0\x01x\0\0", "latin1"));
      resolve(socket.pause());
    };
  });
  await start(USER);
  // The client closes before the guest reads.
  await inPod(`
    const socket = net.connect({ port: 80, host: "127.0.0.1", allowHalfOpen: true });
    await new Promise((resolve) => socket.on("end", resolve).resume());
    await new Promise((resolve) => socket.end(Buffer.alloc(${size}), resolve));
    return null;`);
  const socket = await guestSide;
  let stream = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    stream = Buffer.concat([stream, data]);
  });
  await once(socket.resume(), "end");
  let content = 0;
  let frames = stream.subarray(GREETING);
  for (; frames.length > 2; frames = frames.subarray(2 + frames.readUInt16BE()))
    content += frames.readUInt16BE();
  assert.deepEqual([content, frames], [size, END]);
});

test("pod-localhost resets a connection for which it cannot start a process", async () => {
  behave = echo;
  await startBelow("prlimit", "--nproc=1");
  assert.equal(await inPod("return (await connect()).end"), "ECONNRESET");
});

test("pod-localhost resets the client of a guest that does not answer, and still reads the late answer", async () => {
  const { pid } = await start(USER);
  const asked = new Promise<Socket>((resolve) => {
    behave = resolve;
  });
  assert.equal(await inPod("return (await connect()).end"), "ECONNRESET");
  const socket = await asked;
  assert.equal(socket.readableEnded, false);
  assert.equal((await childrenOf(pid)).length, 1);
  const ended = once(socket.resume(), "end");
  socket.write("OK 1\n");
  await ended;
  await eventually(async () => (await childrenOf(pid)).length === 0);
});

test("pod-localhost exits with its parent although it has changed its user", async () => {
  const pid = await startBelow();
  // The parent-death signal is set after the filter: it is certainly set once the next call has been
  // answered.
  behave = echo;
  assert.equal(await inPod("return (await connect()).end"), "echoed");
  shell?.kill("SIGKILL");
  await eventually(async () => /^(|Z.*)$/.test((await statusOf(pid)).State ?? ""));
});
