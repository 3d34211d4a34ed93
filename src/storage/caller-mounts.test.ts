/** The caller's paths mean what they mean in its mount namespace, which is not this process's own. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Deadline } from "../core/deadline.ts";
import { mountsBelow } from "../host/mount.ts";
import { MountApi } from "../host/mount-api.ts";
import { readMountInfo } from "../host/mountinfo.ts";
import { run } from "../host/run.ts";
import { BoundFile } from "./bound-file.ts";
import { GUEST_SHARE, type SharedPath, SharedTree } from "./shared-tree.ts";
import { shmSize } from "./shm-size.ts";

const deadline = Deadline.none();
let directory: string;
let caller: ChildProcess;
let descriptors: number[];
let api: MountApi;
let share: SharedTree;
/** A tmpfs in the caller's namespace. */
let volume: string;

/** Runs a program in the caller's mount namespace. */
const asCaller = (...argv: [string, ...string[]]) =>
  run(["nsenter", `--mount=/proc/${caller.pid}/ns/mnt`, "--", ...argv], deadline);
const tmpfs = (at: string) => asCaller("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", at);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-caller-"));
  volume = join(directory, "volume");
  await mkdir(volume);
  caller = spawn("unshare", ["--mount", "--propagation=private", "sh", "-c", "echo; exec cat"]);
  if (!caller.stdout) throw new Error("no output");
  await once(caller.stdout, "data");
  descriptors = [`/proc/${caller.pid}/ns/mnt`, `/proc/${caller.pid}/root`].map((path) => openSync(path, "r"));
  const [namespace = -1, root = -1] = descriptors;
  api = new MountApi(join(import.meta.dirname, "../../dist/lib/mount-api.node"), { namespace, root });
  share = await SharedTree.create(join(directory, "shared"), api, deadline);
  await tmpfs(volume);
  await asCaller("sh", "-c", `echo caller >${volume}/file; mkdir ${volume}/later`);
});
afterEach(async () => {
  await share.dispose(deadline);
  for (const fd of descriptors) closeSync(fd);
  caller.kill("SIGKILL");
  await once(caller, "exit");
  assert.deepEqual(await mountsBelow(directory), []);
  assert.deepEqual(readdirSync(volume), [], "something was written below the caller's mount");
  await rm(directory, { recursive: true });
});

/** The path at which virtiofsd serves it. */
const exported = ({ guestPath }: SharedPath, path = "") =>
  join(share.exported, guestPath.slice(GUEST_SHARE.length), path);

test("a volume that the caller mounted later is shared, for reading and writing", async () => {
  const shared = await share.addBind(volume, ["rbind"], deadline);
  assert.equal(readFileSync(exported(shared, "file"), "utf8"), "caller\n");
  writeFileSync(exported(shared, "new"), "by the guest");
  assert.equal(await asCaller("cat", `${volume}/new`), "by the guest");
  const file = await share.addBind(`${volume}/file`, ["rbind", "ro"], deadline);
  assert.equal(readFileSync(exported(file), "utf8"), "caller\n");
  assert.throws(() => writeFileSync(exported(file), "x"), { code: "EROFS" });
  await assert.rejects(share.addBind(`${volume}/none`, [], deadline), { code: "NotFound" });
  for (const one of [shared, file]) await one.release(deadline);
  assert.deepEqual(readdirSync(share.exported), []);
  assert.equal(await asCaller("cat", `${volume}/file`), "caller\n");
});

test("a volume with a new mount inside is mounted again; an unchanged one is shared", async () => {
  const before = await share.addBind(volume, ["rbind", "rprivate"], deadline);
  const same = await share.addBind(volume, ["rbind", "rprivate"], deadline);
  assert.equal(same.guestPath, before.guestPath);
  await tmpfs(`${volume}/later`);
  await asCaller("touch", `${volume}/later/here`);
  const after = await share.addBind(volume, ["rbind", "rprivate"], deadline);
  const seen = (path: SharedPath) => readdirSync(exported(path, "later"));
  assert.deepEqual([seen(before), seen(after)], [[], ["here"]]);
});

test("a later mount inside a shared volume shows, and nothing propagates back", async () => {
  await asCaller("mount", "--make-shared", volume);
  const follows = await share.addBind(volume, ["rbind", "rshared"], deadline);
  const keeps = await share.addBind(volume, ["rbind", "rprivate"], deadline);
  await tmpfs(`${volume}/later`);
  await asCaller("touch", `${volume}/later/here`);
  const seen = (path: SharedPath) => readdirSync(exported(path, "later"));
  assert.deepEqual([seen(follows), seen(keeps)], [["here"], []]);
  for (const path of [follows, keeps]) await path.release(deadline);
  assert.equal(await asCaller("ls", `${volume}/later`), "here\n");
});

test("the layers of an overlay are the caller's, and its namespace does not see the mount", async () => {
  await asCaller("mkdir", ...["lower", "upper", "work"].map((name) => `${volume}/${name}`));
  await asCaller("touch", `${volume}/lower/image`);
  const options = ["lower", "upper", "work"].map((name) => `${name}dir=${volume}/${name}`);
  const mounted = await asCaller("cat", "/proc/self/mountinfo");
  const overlay = { type: "overlay", source: "overlay", target: "", options };
  const rootfs = await share.addRootfs([overlay], deadline);
  assert.deepEqual(readdirSync(exported(rootfs)), ["image"]);
  writeFileSync(exported(rootfs, "written"), "");
  assert.equal(await asCaller("ls", `${volume}/upper`), "written\n");
  const served = (await readMountInfo()).find(({ target }) => target === exported(rootfs))?.options;
  assert.ok(served?.includes("nodev") && served.includes("nosuid"), served?.join());
  assert.equal(await asCaller("cat", "/proc/self/mountinfo"), mounted);
  const missing = { ...overlay, options: [`lowerdir=${volume}/none:${volume}/lower`] };
  await assert.rejects(share.addRootfs([missing], deadline), {
    code: "FailedPrecondition",
    message: /^mount overlay \(overlay\): no such file or directory/,
  });
  assert.equal(readdirSync(share.exported).length, 1);
});

test("a file system image is the caller's, with or without the option loop", async () => {
  await asCaller("mount", "-o", "remount,size=8m", volume);
  await asCaller("sh", "-c", `truncate -s 4M ${volume}/image; PATH=$PATH:/sbin mkfs.ext4 -q ${volume}/image`);
  for (const options of [["loop"], ["ro"]]) {
    const image = { type: "ext4", source: `${volume}/image`, target: "", options };
    const rootfs = await share.addRootfs([image], deadline);
    assert.ok(existsSync(exported(rootfs, "lost+found")));
    await rootfs.release(deadline);
  }
  assert.deepEqual(readdirSync(share.exported), []);
  assert.deepEqual(readdirSync(join(directory, "shared/stage")), []);
});

test("the caller's file can be bound to our path, and its shared memory has a size", async () => {
  const path = join(directory, "bound");
  const bound = await api.withSource(`${volume}/file`, (found) => BoundFile.create(found, path, api));
  assert.equal(readFileSync(path, "utf8"), "caller\n");
  await bound.remove();
  await bound.remove();
  assert.ok(!existsSync(path));
  assert.equal(await shmSize(volume, api), 1n << 20n);
  assert.notEqual((await statfs(volume, { bigint: true })).blocks << 12n, 1n << 20n);
});
