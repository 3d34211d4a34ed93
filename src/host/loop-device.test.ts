import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { holdOpen } from "../../test/testkit/hold-open.ts";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { ownMountApi } from "../../test/testkit/mount-api.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { pollUntil } from "../core/poll-until.ts";
import { attachLoop, releaseLoop } from "./loop-device.ts";
import { run } from "./run.ts";

const mounts = ownMountApi();
let directory: string;
let ledger: MemoryLedger;
let image: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-loop-"));
  ledger = new MemoryLedger();
  image = join(directory, "image");
  await writeFile(image, "first bytes");
  await truncate(image, 1 << 20);
});
afterEach(() => rm(directory, { recursive: true }));

const attached = async () =>
  (await run(["losetup", "-n", "-O", "NAME,RO", "-j", image], within(30_000))).trim().split(/\s+/);

test("a device is recorded while it exists; detaching it twice is harmless", async () => {
  const loop = await attachLoop(image, true, { ledger, mounts }, within(30_000));
  assert.deepEqual(await attached(), [loop.path, "1"]);
  assert.deepEqual(ledger.resources, [{ kind: "loop", file: image, device: loop.path }]);
  assert.equal(await run(["head", "-c", "11", loop.path], within(30_000)), "first bytes");
  await loop.detach(within(30_000));
  await loop.detach(within(30_000));
  assert.deepEqual(await attached(), [""]);
  assert.deepEqual(ledger.resources, []);
});

test("a device that a VMM detaches keeps its file and its number until it is detached here", async () => {
  const loop = await attachLoop(image, false, { ledger, mounts }, within(30_000));
  // Any process that can open it may do that (LOOP_CLR_FD).
  await run(["losetup", "--detach", loop.path], within(30_000));
  const next = await attachLoop(image, true, { ledger, mounts }, within(30_000));
  assert.notEqual(next.path, loop.path);
  assert.equal(await run(["head", "-c", "11", loop.path], within(30_000)), "first bytes");
  await loop.detach(within(30_000));
  assert.deepEqual(await attached(), [next.path, "1"]);
  await next.detach(within(30_000));
  assert.deepEqual([await attached(), ledger.resources], [[""], []]);
});

test("a device that another process has open keeps its file and its record until it is closed", async (t) => {
  const loop = await attachLoop(image, false, { ledger, mounts }, within(30_000));
  const release = await holdOpen(t, loop.path);
  const soon = Deadline.after(100);
  await assert.rejects(loop.detach(soon), {
    message: /^detach \/dev\/loop\d+, which another process has open: /,
  });
  soon.dispose();
  assert.deepEqual(await attached(), [loop.path, "0"]);
  assert.deepEqual(ledger.resources, [{ kind: "loop", file: image, device: loop.path }]);
  release();
  await loop.detach(within(30_000));
  assert.deepEqual([await attached(), ledger.resources], [[""], []]);
});

test("a detach that timed out can be repeated", async () => {
  const loop = await attachLoop(image, false, { ledger, mounts }, within(30_000));
  const over = within(30_000);
  over.cancel("the test cancelled it");
  await assert.rejects(loop.detach(over), /the test cancelled it/);
  assert.deepEqual(ledger.resources, [{ kind: "loop", file: image, device: loop.path }]);
  await loop.detach(within(30_000));
  assert.deepEqual([await attached(), ledger.resources], [[""], []]);
});

test("a device is detached with its daemon, even if the daemon is killed and the file is gone", async (t) => {
  const fixture = fileURLToPath(new URL("../../test/fixtures/attach-loop-device.ts", import.meta.url));
  const argv = ["--import", "tsx", fixture, image];
  const daemon = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => daemon.kill("SIGKILL"));
  const [path] = (await once(daemon.stdout, "data")) as [Buffer];
  assert.deepEqual(await attached(), [path.toString(), "0"]);
  daemon.kill("SIGKILL");
  // Other processes may have it open for a moment when they list all devices.
  await pollUntil(async () => (await attached())[0] === "", within(30_000));
});

test("a device that a killed losetup attached is detached; if that fails it stays recorded", async (t) => {
  const losetup = (await run(["sh", "-c", "command -v losetup"], within(30_000))).trim();
  const path = process.env.PATH;
  t.after(() => {
    process.env.PATH = path;
  });
  /** Runs the real losetup, then kills itself if its first argument matches `killed`. */
  const attach = async (killed: string) => {
    const script = `#!/bin/sh\n${losetup} "$@"\ncase $1 in ${killed}) kill -KILL $$; esac\n`;
    await writeFile(join(directory, "losetup"), script, { mode: 0o755 });
    process.env.PATH = `${directory}:${path}`;
    const error = await attachLoop(image, false, { ledger, mounts }, within(30_000)).then(
      () => "",
      (error: Error) => error.message,
    );
    process.env.PATH = path;
    return error;
  };
  assert.match(
    await attach("--find"),
    /^image file .*: attach it to a loop device: losetup --find: killed by SIGKILL$/,
  );
  assert.deepEqual([await attached(), ledger.resources], [[""], []]);
  assert.match(
    await attach("*"),
    /killed by SIGKILL; undoing it failed: losetup --noheadings: killed by SIGKILL$/,
  );
  assert.deepEqual(ledger.resources, [{ kind: "loop", file: image }]);
  await releaseLoop(image, undefined, within(30_000));
  assert.deepEqual(await attached(), [""]);
});

/** Attaches a device as a daemon would that was killed afterwards. */
const leftAttached = async () =>
  (await run(["losetup", "--find", "--show", "--read-only", image], within(30_000))).trim();

test("a dead daemon's device is found by its file", async () => {
  await leftAttached();
  await releaseLoop(image, undefined, within(30_000));
  assert.deepEqual(await attached(), [""]);
  await releaseLoop(image, undefined, within(30_000));
});

test("a dead daemon's device is detached, not that of another pod with the same file", async () => {
  const own = await leftAttached();
  const other = await attachLoop(image, true, { ledger, mounts }, within(30_000));
  await releaseLoop(image, own, within(30_000));
  assert.deepEqual(await attached(), [other.path, "1"]);
  await releaseLoop(image, own, within(30_000));
  await other.detach(within(30_000));
  assert.deepEqual(await attached(), [""]);
});

test("a device that cannot be recorded is detached", async () => {
  const full = new Error("no space left");
  const record = async () => ({ update: () => Promise.reject(full), forget: async () => undefined });
  await assert.rejects(
    attachLoop(image, false, { ledger: { record }, mounts }, within(30_000)),
    /no space left/,
  );
  assert.deepEqual(await attached(), [""]);
});

test("a missing file is reported, and nothing is recorded", async () => {
  const none = join(directory, "none");
  await assert.rejects(
    attachLoop(none, false, { ledger, mounts }, within(30_000)),
    /none: attach it to a loop device/,
  );
  assert.deepEqual(ledger.resources, []);
});
