import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, realpath, rm } from "node:fs/promises";
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
let library: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-vsock-addon-"));
  const headers = join(dirname(dirname(await realpath(process.execPath))), "include/node");
  const flags = ["-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];
  const files = ["-o", join(directory, "vsock.node"), join(root, "native/vsock.c")];
  await run("cc", [...flags, "-Wall", "-Wextra", "-Werror", "-isystem", headers, ...files]);
  library = (await run("cc", ["-print-file-name=libasan.so"])).stdout.trim();
});
after(() => rm(directory, { recursive: true }));

/**
 * Runs a script with `addon` and `net` under the sanitizers, which abort the process when they find
 * something.
 */
async function sanitized(script: string): Promise<string> {
  const lines = [
    "const { exports: addon } = (() => { const m = { exports: {} }; process.dlopen(m, process.argv[1]); return m; })();",
    'const net = require("node:net"); const assert = require("node:assert/strict");',
    script,
  ];
  const env = { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: "detect_leaks=0", NODE_OPTIONS: "" };
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

test("every connect gets its callback, even when Node exits first", async () => {
  const script = `
    let left = 20;
    for (let i = 0; i < 20; i++) {
      assert.equal(addon.connect(0xfffffff0, 1, 100, (fd) => { assert.ok(fd < 0); if (--left === 0) console.log("all"); }), 0);
    }
    process.on("exit", () => addon.connect(0xfffffff0, 1, 50, () => 0));`;
  assert.equal(await sanitized(script), "all");
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
