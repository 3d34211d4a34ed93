import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { within } from "../../test/testkit/within.ts";
import { NativeVsock } from "./native.ts";

// Built here with sanitizers. Tests that need a peer run in a guest (test/e2e/vsock.e2e.test.ts).
const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
let directory: string;
/** Preloaded: the sanitizer, then connects that take as long as with a guest that is slow to answer. */
let libraries: string[];
const ECONNRESET = -104;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-vsock-addon-"));
  const headers = join(dirname(dirname(await realpath(process.execPath))), "include/node");
  const flags = ["-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];
  const files = ["-o", join(directory, "vsock.node"), join(root, "native/vsock.c")];
  await run("cc", [...flags, "-Wall", "-Wextra", "-Werror", "-isystem", headers, ...files]);
  const slow = join(directory, "slow-vsock.so");
  const source = join(root, "test/testkit/slow-vsock.c");
  await run("cc", ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", slow, source]);
  libraries = [(await run("cc", ["-print-file-name=libasan.so"])).stdout.trim(), slow];
});
after(() => rm(directory, { recursive: true }));

/**
 * Runs a script with `addon` and `net` under the sanitizers, which abort the process when they find
 * something. With `slowMs`, every connect takes that long.
 */
async function sanitized(script: string, slowMs?: number): Promise<string> {
  const lines = [
    "const { exports: addon } = (() => { const m = { exports: {} }; process.dlopen(m, process.argv[1]); return m; })();",
    'const net = require("node:net"); const assert = require("node:assert/strict");',
    script,
  ];
  const preloaded = libraries.slice(0, slowMs === undefined ? 1 : 2).join(":");
  const env = {
    ...{ ...process.env, NODE_OPTIONS: "", HULL_SLOW_VSOCK_MS: String(slowMs ?? 0) },
    ...{ LD_PRELOAD: preloaded, ASAN_OPTIONS: "detect_leaks=0" },
  };
  const { stdout } = await run(process.execPath, ["-e", lines.join("\n"), join(directory, "vsock.node")], {
    env,
    timeout: 60_000,
  });
  return stdout.trim();
}

test("wrong arguments are refused", async () => {
  const script = `
    for (const name of Object.keys(addon)) {
      for (const wrong of [[], ["x"], [1, 2, 3, 4, 5, 6], [{}, [], null, 4]]) {
        if (name === "carrier" && wrong.length === 0) continue;
        assert.throws(() => addon[name](...wrong), { code: "ERR_INVALID_ARG_TYPE" }, name);
      }
    }
    assert.throws(() => addon.connect(1, 2, 3, "no function"), { code: "ERR_INVALID_ARG_TYPE" });
    assert.equal(addon.close(999999), -9);
    assert.equal(addon.replace(999999, 999998), -9);
    console.log(Object.keys(addon).join());`;
  assert.equal(await sanitized(script), "connect,listen,carrier,replace,reserve,close");
});

test("every connect gets its result, at once or by its callback", async () => {
  const script = `
    let left = 20;
    const done = (fd) => { assert.ok(fd < 0); if (--left === 0) console.log("all"); };
    for (let i = 0; i < 20; i++) {
      const failed = addon.connect(0xfffffff0, 1, 100, done);
      if (failed !== 0) done(failed);
    }`;
  assert.equal(await sanitized(script), "all");
});

test("every connect that takes time gets its callback, which may queue work", async () => {
  const script = `
    let left = 20;
    for (let i = 0; i < 20; i++) {
      const done = async (fd) => { await null; assert.equal(fd, ${ECONNRESET}); if (--left === 0) console.log("all"); };
      assert.equal(addon.connect(0xfffffff0, 1, 10_000, done), 0);
    }`;
  assert.equal(await sanitized(script, 100), "all");
});

for (const [name, end] of [
  ["its loop ends", `process.on("exit", () => connect());`],
  ["it calls exit", `connect(); setTimeout(() => process.exit(0), 20);`],
  [
    "a worker ends",
    `new Worker(script, { eval: true, argv: process.argv.slice(1) }).on("exit", () => console.log("ended"));`,
  ],
] as const) {
  test(`Node exits with connects under way: ${name}`, async () => {
    const worker = `
      const m = { exports: {} }; process.dlopen(m, process.argv[2]);
      for (let i = 0; i < 20; i++) m.exports.connect(0xfffffff0, 1, 10_000, () => 0);
      setTimeout(() => process.exit(0), 20);`;
    const script = `
      const { Worker } = require("node:worker_threads"); const script = ${JSON.stringify(worker)};
      const connect = () => { for (let i = 0; i < 20; i++) addon.connect(0xfffffff0, 1, 10_000, () => 0); };
      ${end}`;
    // If Node waited for the slowest, `sanitized` would fail by its own limit.
    for (const slowMs of [0, 1, 30, 600_000]) {
      await sanitized(script, slowMs);
    }
  });
}

test("an exception in a callback is uncaught, and the other callbacks still run", async () => {
  const script = `
    const seen = [];
    process.on("uncaughtException", (error) => seen.push(error.message));
    addon.connect(0xfffffff0, 1, 10_000, () => { throw new Error("mine"); });
    addon.connect(0xfffffff0, 1, 10_000, () => seen.push("second"));
    process.on("exit", () => console.log(seen.sort().join()));`;
  assert.equal(await sanitized(script, 50), "mine,second");
});

test("a placeholder is replaced by another socket, a listening one and a stream", async () => {
  const script = `
    const server = net.createServer((s) => s.end("hello"));
    const carrier = addon.carrier();
    const listening = addon.carrier();
    assert.ok(carrier > 2 && listening > 2);
    server.listen({ fd: carrier }, () => {
      assert.equal(addon.replace(carrier, listening), 0);
      server.close(() => console.log("closed"));
    });`;
  assert.equal(await sanitized(script), "closed");
});

test("connecting to an unknown context id fails soon after the deadline at the latest", async () => {
  const vsock = new NativeVsock(join(root, "dist/lib/vsock.node"));
  const deadline = within(300, "connect");
  const start = performance.now();
  await assert.rejects(vsock.connect(0xfffffff0, 1, deadline), { code: /^(Unavailable|DeadlineExceeded)$/ });
  assert.ok(performance.now() - start < 20_000);
  deadline.dispose();
});

test("a connect whose socket gets no descriptor is rejected, and leaves none open", async () => {
  const program = join(directory, "full.mts");
  const script = `
    import { openSync, readdirSync, closeSync } from "node:fs";
    import { NativeVsock } from ${JSON.stringify(join(import.meta.dirname, "native.ts"))};
    import { Deadline } from ${JSON.stringify(join(root, "src/core/deadline.ts"))};
    const vsock = new NativeVsock(${JSON.stringify(join(root, "dist/lib/vsock.node"))});
    const deadline = Deadline.after(20_000);
    (await vsock.connect(5, 1, deadline)).destroy();
    await new Promise(setImmediate);
    const before = readdirSync("/proc/self/fd").length;
    const connecting = vsock.connect(5, 1, deadline).catch((error) => error.code + ": " + error.message);
    const fill = [];
    await new Promise(setImmediate);
    try { while (true) fill.push(openSync("/dev/null")); } catch {}
    console.log(await connecting);
    for (const fd of fill) closeSync(fd);
    deadline.dispose();
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(readdirSync("/proc/self/fd").length - before);`;
  await writeFile(program, script);
  const env = {
    ...process.env,
    LD_PRELOAD: libraries[1],
    HULL_SLOW_VSOCK_MS: "200",
    HULL_SLOW_VSOCK_CONNECTS: "1",
  };
  const argv = ["-c", 'ulimit -n 64; exec "$0" --import tsx "$1"', process.execPath, program];
  const { stdout } = await run("sh", argv, { env, timeout: 60_000 });
  const error = "connect to vsock 5:1: vsock: too many open files; raise LimitNOFILE of containerd's unit";
  // One is the peer's end, which the library keeps open.
  assert.equal(stdout, `ResourceExhausted: ${error}\n1\n`);
});

test("a host without vhost-vsock cannot reserve a context id", {
  skip: existsSync("/dev/vhost-vsock") && "this host has /dev/vhost-vsock",
}, () => {
  const vsock = new NativeVsock(join(root, "dist/lib/vsock.node"));
  assert.throws(() => vsock.reserveCid(), { code: "Unavailable" });
});

test("two reservations get two context ids, which are free again after their release", {
  skip: !existsSync("/dev/vhost-vsock") && "this host has no /dev/vhost-vsock",
}, () => {
  const vsock = new NativeVsock(join(root, "dist/lib/vsock.node"));
  const [one, two] = [vsock.reserveCid(), vsock.reserveCid()];
  assert.notEqual(one.cid, two.cid);
  one.release();
  two.release();
});

test("an addon that cannot be loaded is Unavailable", () => {
  assert.throws(() => new NativeVsock("/no/such/vsock.node"), { code: "Unavailable" });
});
