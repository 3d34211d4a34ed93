import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import { resolveAccel } from "./accel.ts";

let directory: string;
let warnings: string[];
const noKvm = !existsSync("/dev/kvm") && "this host has no /dev/kvm";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-accel-"));
  warnings = [];
  await writeFile(join(directory, "kernel"), "");
});
afterEach(() => rm(directory, { recursive: true }));

/** A QEMU that counts its runs in the file `runs` and runs the script. */
async function fakeQemu(script: string) {
  const path = join(directory, "qemu");
  await writeFile(path, `#!/bin/sh\necho run >> ${directory}/runs\n${script}\n`);
  await chmod(path, 0o755);
  return {
    path,
    kernel: join(directory, "kernel"),
    directory,
    warn: (message: string) => warnings.push(message),
  };
}

const runs = async () => (await readFile(join(directory, "runs"), "utf8")).trim().split("\n").length;

test("a kernel that reaches its panic proves KVM; concurrent callers share one probe", {
  skip: noKvm,
}, async () => {
  const probe = await fakeQemu("sleep 0.2; echo 'Kernel panic - not syncing: VFS: no root'");
  const answers = await Promise.all([1, 2, 3].map(() => resolveAccel(probe, within(30_000))));
  assert.deepEqual(answers, ["kvm", "kvm", "kvm"]);
  assert.equal(await runs(), 1);
  assert.deepEqual(warnings, []);
});

test("if the guest does not panic, the answer is TCG with one warning, and is kept", {
  skip: noKvm,
}, async () => {
  const probe = await fakeQemu("exit 0");
  assert.equal(await resolveAccel(probe, within(30_000)), "tcg");
  assert.equal(await resolveAccel(probe, within(30_000)), "tcg");
  assert.equal(await runs(), 1);
  assert.equal(warnings.length, 1);
  // Another QEMU is probed again.
  const other = await fakeQemu("echo 'Kernel panic - not syncing: x' # longer");
  assert.equal(await resolveAccel(other, within(30_000)), "kvm");
});

const answers = async () => (await readdir(directory)).filter((name) => name.startsWith("accel"));

test("answers about replaced QEMUs do not pile up", { skip: noKvm }, async () => {
  for (let version = 0; version < 20; version++) {
    const probe = await fakeQemu(`exit 0 # ${"x".repeat(version)}`);
    assert.equal(await resolveAccel(probe, within(30_000)), "tcg");
  }
  assert.equal(await runs(), 20);
  const [file = "", ...more] = await answers();
  assert.deepEqual(more, []);
  assert.equal(JSON.parse(await readFile(join(directory, file), "utf8")).length, 16);
});

test("an answer that others could have written is ignored, and a dead process's lock is removed", {
  skip: noKvm,
}, async () => {
  const probe = await fakeQemu("exit 1");
  await resolveAccel(probe, within(30_000));
  const [answer = ""] = await answers();
  await chmod(join(directory, answer), 0o666);
  await writeFile(join(directory, "accel.lock"), "4194305 1");
  assert.equal(await resolveAccel(probe, within(30_000)), "tcg");
  assert.equal(await runs(), 2);
});

test("the caller's deadline ends the probe without an answer", { skip: noKvm }, async () => {
  const probe = await fakeQemu("exec sleep 60");
  await assert.rejects(resolveAccel(probe, Deadline.after(100)), { code: "DeadlineExceeded" });
  assert.deepEqual(await answers(), []);
});
