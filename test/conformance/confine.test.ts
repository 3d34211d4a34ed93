/**
 * The seccomp filter of helpers that only move bytes between sockets: what a compromised one can still do.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { ROOT } from "../testkit/containerd.ts";

const run = promisify(execFile);

test("a confined process can fork and open sockets to its guest, but cannot create namespaces or other sockets", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-confine-"));
  t.after(() => rm(directory, { recursive: true }));
  const program = join(directory, "try-confined");
  const native = join(ROOT, "native");
  const sources = [join(ROOT, "test/testkit/try-confined.c"), join(native, "confine.c")];
  await run("cc", ["-O2", "-Wall", "-Werror", "-I", native, "-o", program, ...sources]);
  const { stdout } = await run(program);
  assert.deepEqual(stdout.trimEnd().split("\n"), [
    "fork: yes",
    "user namespace: EPERM",
    "user and network namespace: EPERM",
    "unix socket: yes",
    "netlink socket: EPERM",
    "network socket: EPERM",
  ]);
});
