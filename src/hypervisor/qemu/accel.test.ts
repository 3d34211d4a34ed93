import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { within } from "../../../test/testkit/within.ts";
import { pollUntil } from "../../core/poll-until.ts";
import { lockFile } from "../../host/file-lock.ts";
import { startTimeOf } from "../../host/proc.ts";
import { type AccelSearch, kvmObstacle, resolveAccel } from "./accel.ts";

const BOOTED = 'VFS: Cannot open root device "(null)" or unknown-block(0,0): error -6';
let directory: string;
let device: string;
let warnings: string[];
let infos: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-accel-"));
  warnings = [];
  infos = [];
  device = join(directory, "kvm");
  await Promise.all(["kernel", "kvm"].map((name) => writeFile(join(directory, name), "")));
});
afterEach(() => rm(directory, { recursive: true }));

/** A QEMU that counts its runs in the file `runs` and runs the script. */
async function fakeQemu(script: string, silence = 20_000): Promise<AccelSearch> {
  const path = join(directory, "qemu");
  await writeFile(`${path}.new`, `#!/bin/sh\necho run >> ${directory}/runs\n${script}\n`, { mode: 0o755 });
  await rename(`${path}.new`, path);
  return {
    ...{ path, kernel: join(directory, "kernel"), directory, device, limits: { silence, total: 30_000 } },
    warn: (message) => warnings.push(message),
    info: (message) => infos.push(message),
  };
}

const runs = async () => (await readFile(join(directory, "runs"), "utf8")).trim().split("\n").length;
const answers = async () => JSON.parse(await readFile(join(directory, "accel.json"), "utf8"));

/** Lets a minute, then more, pass for the answers. */
async function age(): Promise<void> {
  const aged = (await answers()).map((answer: object) => ({ ...answer, renewAt: 0 }));
  await writeFile(join(directory, "accel.json"), JSON.stringify(aged), { mode: 0o600 });
}

/** Waits for a probe in the background to end. */
async function probed(): Promise<void> {
  const lock = await lockFile(join(directory, "accel.lock"), { wait: true }, within(20_000, "the probe"));
  await lock?.release();
}

test("a kernel that finds no root file system proves KVM; concurrent callers share one probe", async () => {
  const search = await fakeQemu(`sleep 0.2; echo '${BOOTED}'; exec sleep 60`);
  const accels = await Promise.all([1, 2, 3].map(() => resolveAccel(search, within(60_000))));
  assert.deepEqual(accels, ["kvm", "kvm", "kvm"]);
  assert.equal(await runs(), 1);
  assert.deepEqual(warnings, []);
  assert.match(
    infos.join("|"),
    /^KVM runs the guest's kernel \(found in \d+\.\d s\); guests use it from now on$/,
  );
  await age();
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
  assert.equal(await runs(), 1);
});

test("a kernel may take longer than the longest silence if its console shows progress", async () => {
  const search = await fakeQemu(
    `for i in 1 2 3 4; do sleep 0.3; echo line $i; done; echo '${BOOTED}'`,
    1_000,
  );
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
});

for (const [name, script, cause] of [
  [
    "QEMU refuses KVM",
    "echo 'failed to initialize kvm: No such device' >&2; exit 1",
    /QEMU: failed to initialize/,
  ],
  [
    "QEMU aborts",
    "echo 'MSR 0x10a: Assertion failed' >&2; kill -ABRT $$",
    /QEMU: MSR 0x10a: Assertion failed/,
  ],
  ["QEMU is killed", "kill -KILL $$", /QEMU was killed/],
  [
    "KVM stops the guest",
    "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60",
    /QEMU: KVM internal error/,
  ],
  ["the guest resets", "echo SeaBIOS; exit 0", /resets before it has booted; its last line: SeaBIOS/],
  ["the guest hangs", "echo Linux; exec sleep 60", /does not boot within 0.5 s; its last line: Linux/],
  ["the guest hangs at once", "exec sleep 60", /does not boot within 0.5 s; it has printed no line/],
  [
    "it panics early",
    "echo 'Kernel panic - not syncing: no timer'; exec sleep 60",
    /not boot: Kernel panic .* no timer/,
  ],
] as const) {
  test(`guests are emulated with one warning that names the cause: ${name}`, async () => {
    const search = await fakeQemu(script, 500);
    assert.equal(await resolveAccel(search, within(60_000)), "tcg");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /^KVM cannot be used: /);
    assert.match(warnings[0] ?? "", cause);
    assert.equal(await resolveAccel(search, within(60_000)), "tcg");
    assert.equal(await runs(), 1, "the answer was not remembered");
    assert.equal(warnings[1], warnings[0]);
  });
}

test("an obstacle is probed again after a while: the pod that does so does not wait, the next one uses KVM", async () => {
  const search = await fakeQemu(`test -e ${directory}/go || exit 1; sleep 0.5; echo '${BOOTED}'`);
  const resolve = () => resolveAccel(search, within(60_000));
  assert.equal(await resolve(), "tcg");
  await writeFile(join(directory, "go"), "");
  assert.equal(await resolve(), "tcg");
  assert.equal(await runs(), 1);
  await age();
  // Two at once start one probe.
  assert.deepEqual(await Promise.all([resolve(), resolve()]), ["tcg", "tcg"]);
  assert.deepEqual(infos, []);
  await probed();
  assert.equal(await resolve(), "kvm");
  assert.equal(await runs(), 2);
  assert.equal(infos.length, 1);
});

test("a pod starts even if a new probe cannot be started", async () => {
  const search = await fakeQemu("exit 1");
  await resolveAccel(search, within(60_000));
  await age();
  await rm(join(directory, "accel.lock"));
  await symlink("/no/such/lock", join(directory, "accel.lock"));
  assert.equal(await resolveAccel(search, within(60_000)), "tcg");
  assert.match(warnings[1] ?? "", /^the KVM probe: lock .*accel.lock/);
});

test("the pauses between probes double", async () => {
  const search = await fakeQemu("exit 1");
  const pauses: number[] = [];
  for (let probe = 0; probe < 3; probe++) {
    await resolveAccel(search, within(60_000));
    await probed();
    const [{ renewAt }] = await answers();
    pauses.push(Math.round((renewAt - Number(process.hrtime.bigint() / 1_000_000n)) / 60_000));
    await age();
  }
  assert.deepEqual(pauses, [1, 2, 4]);
});

test("a node that cannot be opened is no reason to start QEMU; it is used as soon as it can be", async () => {
  const search = await fakeQemu(`echo '${BOOTED}'`);
  await unlink(device);
  for (let pod = 0; pod < 2; pod++) assert.equal(await resolveAccel(search, within(60_000)), "tcg");
  assert.match(
    warnings[0] ?? "",
    /KVM cannot be used: .*kvm does not exist; .*; (run: modprobe kvm_|enable virtualization)/,
  );
  await writeFile(device, "");
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
  assert.equal(await runs(), 1);
});

test("a node that cannot be opened is reported at once, also while another pod probes", async () => {
  const search = await fakeQemu("exit 1");
  await unlink(device);
  const lock = await lockFile(join(directory, "accel.lock"), { wait: true }, within(20_000));
  assert.equal(await resolveAccel(search, within(4_000)), "tcg");
  await lock?.release();
  assert.match(warnings[0] ?? "", /kvm does not exist/);
});

test("nobody waits longer than half of its deadline; the probe continues, and its answer is used", async () => {
  const search = await fakeQemu(`while [ ! -e ${directory}/go ]; do sleep 0.05; done; echo '${BOOTED}'`);
  const began = performance.now();
  const both = await Promise.all([1, 2].map(() => resolveAccel(search, within(2_000))));
  assert.deepEqual(both, ["tcg", "tcg"]);
  assert.ok(performance.now() - began < 1_900);
  assert.match(warnings[0] ?? "", /has not booted in KVM yet; the probe continues/);
  await writeFile(join(directory, "go"), "");
  await probed();
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
  assert.equal(await runs(), 1);
});

test("a caller whose deadline has ended gets its error", async () => {
  const search = await fakeQemu("exec sleep 60", 1_000);
  const deadline = within(20_000);
  const resolved = resolveAccel(search, deadline);
  await pollUntil(async () => (await readdir(directory)).includes("runs"), within(20_000));
  deadline.cancel();
  await assert.rejects(resolved, { code: "Canceled" });
  await probed();
});

test("a probe does not keep its process from exiting, and ends with it", async () => {
  const search = await fakeQemu(`echo $$ > ${directory}/pid; exec sleep 60`);
  const { path, kernel, limits } = search;
  const script = `
    import { resolveAccel } from ${JSON.stringify(join(import.meta.dirname, "accel.ts"))};
    import { Deadline } from ${JSON.stringify(join(import.meta.dirname, "../../core/deadline.ts"))};
    const search = ${JSON.stringify({ path, kernel, directory, device, limits })};
    await Deadline.within(4_000, "x", (by) => resolveAccel({ ...search, warn: console.log, info: console.log }, by));`;
  const program = join(directory, "caller.mts");
  await writeFile(program, script);
  const argv = ["--import", "tsx", program];
  const { stdout } = await promisify(execFile)(process.execPath, argv, { timeout: 15_000 });
  assert.match(stdout, /has not booted in KVM yet/);
  const pid = Number(await readFile(join(directory, "pid"), "utf8"));
  await pollUntil(() => startTimeOf(pid) === undefined, within(10_000, "the end of QEMU"));
  await probed();
});

test("if its process ends before the probe does, the next pod does not wait as long again", async () => {
  const search = await fakeQemu("exec sleep 60", 3_000);
  const impatient = { ...search, patience: 200 };
  assert.equal(await resolveAccel(impatient, within(1_000)), "tcg");
  const began = performance.now();
  assert.equal(await resolveAccel(impatient, within(60_000)), "tcg");
  assert.ok(performance.now() - began < 2_000, "it waited");
  await probed();
  assert.match((await answers())[0].obstacle.cause, /does not boot within 3 s/);
});

test("a fresh probe that fails on a busy host does not disprove KVM; one that finds an obstacle does", async () => {
  const search = await fakeQemu(
    `test -e ${directory}/broken && exit 1; test -e ${directory}/busy && exec sleep 60; echo '${BOOTED}'`,
    500,
  );
  const fresh = () => kvmObstacle({ ...search, fresh: true }, within(60_000));
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
  await writeFile(join(directory, "busy"), "");
  assert.match((await fresh())?.cause ?? "", /does not boot within/);
  assert.equal(await resolveAccel(search, within(60_000)), "kvm");
  await writeFile(join(directory, "broken"), "");
  assert.match((await fresh())?.cause ?? "", /exit status 1/);
  assert.equal(await resolveAccel(search, within(60_000)), "tcg");
});

test("a fresh probe renews the answer", async () => {
  const failing = await fakeQemu(`test -e ${directory}/go && echo '${BOOTED}'; exit 0`);
  assert.equal(await resolveAccel(failing, within(60_000)), "tcg");
  await writeFile(join(directory, "go"), "");
  assert.equal(await kvmObstacle({ ...failing, fresh: true }, within(60_000)), undefined);
  assert.equal(await resolveAccel(failing, within(60_000)), "kvm");
});

test("answers about replaced QEMUs do not pile up", async () => {
  for (let version = 0; version < 20; version++) {
    const search = await fakeQemu(`exit 0 # ${"x".repeat(version)}`);
    assert.equal(await resolveAccel(search, within(60_000)), "tcg");
  }
  assert.equal(await runs(), 20);
  assert.equal((await answers()).length, 16);
});

test("an answer that others could have written, or of another form, is ignored", async () => {
  const search = await fakeQemu("exit 1");
  await resolveAccel(search, within(60_000));
  await chmod(join(directory, "accel.json"), 0o666);
  await resolveAccel(search, within(60_000));
  assert.equal(await runs(), 2);
  const older = (await answers()).map(({ key }: { key: string }) => ({ key, accel: "kvm" }));
  await writeFile(join(directory, "accel.json"), JSON.stringify(older));
  assert.equal(await resolveAccel(search, within(60_000)), "tcg");
  assert.equal(await runs(), 3);
  const file = join(directory, "accel.json");
  await rename(file, join(directory, "elsewhere"));
  await symlink("elsewhere", file);
  assert.equal(await resolveAccel(search, within(60_000)), "tcg");
  assert.equal(await runs(), 4);
});
