/** `start` that is killed half-way: what it has started ends, and the id is free. Needs root and a build. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";
import { until } from "../../src/core/until.ts";
import { isAlive } from "../../src/host/proc.ts";
import { ROOT } from "../testkit/containerd.ts";

const FRONT = join(ROOT, "dist/bin/containerd-shim-hull-v2");
const NAMESPACE = `abandoned-test-${process.pid}`;
/** Far less than the half minute after which a shim ends that nobody has ever called, and far more than it takes. */
const LIMIT_MS = 25_000;

test("a daemon whose start is killed before it has answered ends and leaves nothing", async (t) => {
  const bundle = mkdtempSync(join(tmpdir(), "hull-abandoned-"));
  t.after(() => rmSync(bundle, { recursive: true, force: true }));
  const directory = `/run/hull/${NAMESPACE}/a1`;
  writeFileSync(join(bundle, "config.json"), "{}");
  // The last file that start writes: it stands still there, with its daemon running.
  execFileSync("mkfifo", [join(bundle, "address")]);
  const start = spawn(FRONT, ["-namespace", NAMESPACE, "-id", "a1", "start"], { cwd: bundle });
  start.stdin.end();
  const ended = once(start, "exit");
  const limit = Deadline.after(LIMIT_MS, "the end of the daemon");
  t.after(() => limit.dispose());
  await until(() => existsSync(join(directory, "shim.pid")), limit);
  const [pid, startTime = ""] = readFileSync(join(directory, "shim.pid"), "utf8").trim().split(" ");
  start.kill("SIGKILL");
  await ended;
  await until(() => !existsSync(directory) && !isAlive(Number(pid), startTime), limit);
});
