import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { MountApi } from "./mount-api.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
let directory: string;
let library: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-mount-api-"));
  const headers = join(dirname(dirname(await realpath(process.execPath))), "include/node");
  const flags = ["-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];
  const files = ["-o", join(directory, "mount-api.node"), join(root, "native/mount-api.c")];
  await run("cc", [...flags, "-Wall", "-Wextra", "-Werror", "-isystem", headers, ...files]);
  library = (await run("cc", ["-print-file-name=libasan.so"])).stdout.trim();
});
after(() => rm(directory, { recursive: true }));

/** Runs a script with `addon` under the sanitizers, which abort the process if they find an error. */
async function sanitized(script: string): Promise<string> {
  const lines = [
    "const m = { exports: {} }; process.dlopen(m, process.argv[1]); const addon = m.exports;",
    'const assert = require("node:assert/strict");',
    `(async () => { ${script} })();`,
  ];
  const env = { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: "detect_leaks=0", NODE_OPTIONS: "" };
  const { stdout } = await run(
    process.execPath,
    ["-e", lines.join("\n"), join(directory, "mount-api.node")],
    { env, timeout: 60_000 },
  );
  return stdout.trim();
}

test("wrong arguments are refused", async () => {
  const script = `
    for (const name of Object.keys(addon)) {
      for (const wrong of [[], ["x"], [1, 2, 3, 4, 5, 6, 7, 8, 9], [{}, [], null, 4], ["a\\0b", 0], [-1, "a\\0b", 0, 0]])
        assert.throws(() => addon[name](...wrong), { code: "ERR_INVALID_ARG_TYPE" }, name);
    }
    console.log(Object.keys(addon).join());`;
  assert.equal(
    await sanitized(script),
    "open,find,stat,statfs,mounts,clone,take,create,change,attach,detach,detachLoop",
  );
});

test("concurrent calls each get their result, even if Node exits first", async () => {
  const script = `
    const { openSync, readlinkSync, statSync } = require("node:fs");
    const view = [openSync("/proc/self/ns/mnt"), openSync("/")];
    const before = readlinkSync("/proc/self/cwd");
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => addon.find(...view, "/none/" + i)));
    assert.ok(answers.every((answer) => answer === -2));
    const place = await addon.find(...view, "/etc");
    const taken = await addon.take(...view, place, 1);
    assert.equal(statSync("/proc/self/fd/" + taken).ino, statSync("/etc").ino);
    assert.ok((await addon.mounts(...view)) > 0);
    assert.equal(await addon.take(999999, view[1], place, 0), -9);
    assert.equal(await addon.clone(999999, 0), -9);
    assert.equal(await addon.create(...view, "/", "no-such-type", "none", "/", 0, ""), -19);
    assert.equal(readlinkSync("/proc/self/cwd"), before);
    assert.equal(await addon.open(999999, "x", 0, 0), -9);
    assert.equal(await addon.open(-100, "/etc", 0, 0), -18);
    assert.equal(await addon.change(999999, 1, 1, 0, 0), -9);
    console.log("all");
    for (let i = 0; i < 50; i++) addon.open(-100, ".", 0o10000000, 0);
    process.exit();`;
  assert.equal(await sanitized(script), "all");
});

test("a call that outlives its environment does not touch it", async () => {
  const fifo = join(directory, "fifo");
  await run("mkfifo", [fifo]);
  // A worker, because its process continues: what was freed stays freed for long enough.
  const worker = `
    const m = { exports: {} }; process.dlopen(m, process.argv[2]);
    for (let i = 0; i < 8; i++) m.exports.open(-100, "fifo", 0, 0);
    setTimeout(() => process.exit(0), 50);`;
  const script = `
    const { Worker } = require("node:worker_threads"); const { openSync } = require("node:fs");
    process.chdir(${JSON.stringify(directory)});
    const ended = new Worker(${JSON.stringify(worker)}, { eval: true, argv: process.argv.slice(1) });
    await new Promise((resolve) => ended.on("exit", resolve));
    openSync("fifo", "r+");
    await new Promise((resolve) => setTimeout(resolve, 200));
    console.log("survived");`;
  assert.equal(await sanitized(script), "survived");
});

test("an addon that cannot be loaded is Unavailable", () => {
  assert.throws(() => new MountApi("/no/such/mount-api.node", { namespace: 0, root: 0 }), {
    code: "Unavailable",
  });
});
