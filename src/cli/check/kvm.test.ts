import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { within } from "../../../test/testkit/within.ts";
import type { Config } from "../../config/schema/schema.ts";
import { resolveAccel } from "../../hypervisor/qemu/accel.ts";
import { openKvm } from "../../hypervisor/qemu/kvm-probe.ts";
import { kvm } from "./kvm.ts";

let directory: string;
const noKvm = !existsSync("/dev/kvm") && "this host has no /dev/kvm";
const noRoot = process.getuid?.() !== 0 && "needs root";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-check-kvm-"));
  await writeFile(join(directory, "kernel"), "");
});
afterEach(() => rm(directory, { recursive: true }));

/** Runs the check with a QEMU that runs the script. */
async function check(script: string, hypervisor: object) {
  const [path, kernel] = [join(directory, "qemu"), join(directory, "kernel")];
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const config = {
    hypervisor: { type: "qemu", accel: "auto", path, kernel, ...hypervisor },
  } as unknown as Config;
  const about = {
    config,
    installation: directory,
    path: process.env.PATH,
    state: directory,
    deadline: within(60_000),
  };
  const [finding] = await kvm(about);
  return { finding, search: { path, kernel, directory, warn: () => undefined, info: () => undefined } };
}

test("a KVM that does not work is missing with auto, a failure with kvm or Cloud Hypervisor; both with advice", async () => {
  const auto = (await check("echo 'failed to initialize kvm' >&2; exit 1", {})).finding;
  assert.equal(auto?.status, "missing");
  assert.match(auto?.detail ?? "", /(failed to initialize kvm|\/dev\/kvm.*); guests are emulated/);
  assert.ok(auto?.advice);
  const needed = (await check("exit 1", { accel: "kvm" })).finding;
  assert.equal(needed?.status, "fail");
  assert.match(needed?.detail ?? "", /pods will not start/);
  assert.ok(needed?.advice);
  assert.equal((await check("exit 1", { accel: "tcg" })).finding?.status, "ok");
  const cloud = (await check("exit 1", { type: "cloud-hypervisor" })).finding;
  assert.equal(cloud?.status, (await openKvm()) ? "fail" : "ok");
});

test("without the guest's kernel, KVM is not blamed", async () => {
  const { finding } = await check("exit 1", { kernel: join(directory, "none") });
  assert.match(finding?.detail ?? "", /could not be probed: .*none/);
});

test("pods use the answer", { skip: noKvm || noRoot }, async () => {
  const { finding, search } = await check("echo 'VFS: Cannot open root device'", {});
  assert.deepEqual(finding, { name: "kvm", status: "ok", detail: "KVM runs the guest's kernel" });
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
});
