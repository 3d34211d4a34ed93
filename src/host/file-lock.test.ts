import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../core/deadline.ts";
import { lockFile } from "./file-lock.ts";

async function scratch(t: { after(step: () => Promise<void>): void }) {
  const directory = await mkdtemp(join(tmpdir(), "hull-lock-"));
  const deadline = Deadline.after(10_000, "test");
  t.after(async () => {
    deadline.dispose();
    await rm(directory, { recursive: true });
  });
  return { path: join(directory, "lock"), deadline };
}

test("one process holds the lock at a time; the next one gets it on release", async (t) => {
  const { path, deadline } = await scratch(t);
  const first = await lockFile(path, { wait: false }, deadline);
  assert.ok(first);
  assert.equal(await lockFile(path, { wait: false }, deadline), undefined);
  const order: string[] = [];
  const second = lockFile(path, { wait: true }, deadline).then((lock) => {
    order.push("second");
    return lock;
  });
  order.push("release");
  await first.release();
  await (await second)?.release();
  assert.deepEqual(order, ["release", "second"]);
});

test("waiting for a lock ends at the deadline", async (t) => {
  const { path, deadline } = await scratch(t);
  const first = await lockFile(path, { wait: false }, deadline);
  const soon = Deadline.after(50, "the lock");
  await assert.rejects(lockFile(path, { wait: true }, soon), { code: "DeadlineExceeded" });
  soon.dispose();
  await first?.release();
});

test("a lock is released when its holder is killed", async (t) => {
  const { path, deadline } = await scratch(t);
  const module = new URL("./file-lock.ts", `file://${import.meta.filename ?? __filename}`).pathname;
  const script = `
    const { lockFile } = require(${JSON.stringify(module)});
    const { Deadline } = require(${JSON.stringify(module.replace("host/file-lock", "core/deadline"))});
    lockFile(${JSON.stringify(path)}, { wait: false }, Deadline.none()).then(() => console.log("held"));
    setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ["--import", "tsx", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  assert.equal(await lockFile(path, { wait: false }, deadline), undefined);
  holder.kill("SIGKILL");
  const lock = await lockFile(path, { wait: true }, deadline);
  assert.ok(lock);
  await lock.release();
});
