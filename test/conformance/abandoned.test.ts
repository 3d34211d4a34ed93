/**
 * A `start` that is killed before it answers: what it has started exits, and the id is free. Needs root and a
 * build.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { isAlive } from "../../src/host/proc.ts";
import { ROOT } from "../testkit/containerd.ts";

const LAUNCHER = join(ROOT, "dist/bin/containerd-shim-hull-v2");
const NAMESPACE = `abandoned-test-${process.pid}`;
/**
 * Far less than the half minute after which a shim without callers exits, and far more than cleanup takes.
 */
const LIMIT_MS = 25_000;

test("a daemon exits if its start is killed before it has answered, and its id is free at once", async (t) => {
  const bundle = mkdtempSync(join(tmpdir(), "hull-abandoned-"));
  t.after(() => rmSync(bundle, { recursive: true, force: true }));
  const directory = `/run/hull/${NAMESPACE}/a1`;
  writeFileSync(join(bundle, "config.json"), "{}");
  // The last file that start writes: as a FIFO it blocks start there, with the daemon running.
  execFileSync("mkfifo", [join(bundle, "address")]);
  const flags = ["-namespace", NAMESPACE, "-id", "a1", "start"];
  const start = spawn(LAUNCHER, flags, { cwd: bundle });
  start.stdin.end();
  const ended = once(start, "exit");
  const limit = Deadline.after(LIMIT_MS, "the end of the daemon");
  t.after(() => limit.dispose());
  await pollUntil(() => existsSync(join(directory, "shim.pid")), limit);
  const [pid, startTime = ""] = readFileSync(join(directory, "shim.pid"), "utf8").trim().split(" ");
  start.kill("SIGKILL");
  await ended;
  rmSync(join(bundle, "address"));
  // At once, while it is still exiting: the id is free.
  const again = spawnSync(LAUNCHER, flags, { cwd: bundle, input: "" });
  assert.equal(again.status, 0, String(again.stderr));
  assert.equal(isAlive(Number(pid), startTime), false);
  const [second = ""] = readFileSync(join(directory, "shim.pid"), "utf8").split(" ");
  process.kill(Number(second), "SIGTERM");
  await pollUntil(() => !existsSync(directory), limit);
});
