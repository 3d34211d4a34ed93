import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { ownMountApi } from "../../test/testkit/mount-api.ts";
import { Deadline } from "../core/deadline.ts";
import { mount, mountsBelow, unmountTree } from "../host/mount.ts";
import { readMountInfo } from "../host/mountinfo.ts";
import { run } from "../host/run.ts";
import { GUEST_SHARE, type SharedPath, SharedTree } from "./shared-tree.ts";

const deadline = Deadline.none();
const api = ownMountApi();
const tmpfs = (options: readonly string[]) => ({ type: "tmpfs", source: "tmpfs", target: "", options });

let directory: string;
let share: SharedTree;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "hull-share-"));
  share = await SharedTree.create(join(directory, "shared"), api, deadline);
});
afterEach(async () => {
  await share.dispose(deadline);
  await share.dispose(deadline);
  assert.deepEqual(await mountsBelow(join(directory, "shared")), []);
  await unmountTree(directory, deadline);
  rmSync(directory, { recursive: true });
});

/** The path at which virtiofsd serves it. */
const exported = ({ guestPath }: SharedPath) => join(share.exported, guestPath.slice(GUEST_SHARE.length));

function folderWith(name: string, file: string): string {
  mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, name, file), file);
  return join(directory, name);
}

function isReadOnly(write: () => void): boolean {
  try {
    write();
    return false;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "EROFS");
    return true;
  }
}

test("a host path is mounted once for all containers, until the last one is released", async () => {
  const volume = folderWith("volume", "file");
  const [first, second] = await Promise.all([1, 2].map(() => share.addBind(volume, ["rbind"], deadline)));
  assert.ok(first && second);
  assert.equal(first.guestPath, second.guestPath);
  const readOnly = await share.addBind(volume, ["rbind", "ro"], deadline);
  assert.notEqual(readOnly.guestPath, first.guestPath);
  const file = await share.addBind(join(volume, "file"), ["rbind"], deadline);
  assert.equal(readFileSync(exported(file), "utf8"), "file");
  await first.release(deadline);
  await first.release(deadline);
  assert.deepEqual(readdirSync(exported(second)), ["file"]);
  for (const one of [second, readOnly, file]) await one.release(deadline);
  assert.deepEqual(readdirSync(share.exported), []);
  assert.equal((await mountsBelow(join(directory, "shared"))).length, 3); // itself, the host's tree, the export
  assert.ok(existsSync(join(volume, "file")));
});

test("a repeated release leaves alone what others have mounted from the same path since", async (t) => {
  const volume = folderWith("volume", "file");
  const bind = () => share.addBind(volume, ["rbind"], deadline);
  const first = await bind();
  t.mock.method(api, "unmount", () => Promise.reject(new Error("busy")), { times: 1 });
  await assert.rejects(first.release(deadline), /busy/);
  const second = await bind();
  await first.release(deadline);
  assert.equal((await bind()).guestPath, second.guestPath);
});

test("nothing can be created, renamed or removed at the top of the share, and names are unguessable", async () => {
  const volume = folderWith("volume", "file");
  const [one, other] = [
    await share.addBind(volume, ["rbind"], deadline),
    await share.addBind(join(volume, "file"), ["rbind"], deadline),
  ];
  for (const { guestPath } of [one, other]) assert.match(basename(guestPath), /^[0-9a-f]{32}$/);
  const top = (name: string) => join(share.exported, name);
  assert.ok(isReadOnly(() => mkdirSync(top("made"))));
  assert.ok(isReadOnly(() => writeFileSync(top("made"), "")));
  assert.ok(isReadOnly(() => symlinkSync("/etc", top("made"))));
  for (const path of [exported(one), exported(other)]) {
    assert.throws(() => rmdirSync(path), { code: /^(EROFS|EBUSY|ENOTDIR)$/ });
    assert.throws(() => unlinkSync(path), { code: /^(EROFS|EBUSY|EISDIR)$/ });
  }
  writeFileSync(join(exported(one), "new"), "by the guest");
  assert.equal(readFileSync(join(volume, "new"), "utf8"), "by the guest");
});

test("a volume is read-only where virtiofsd serves it, including its submounts if requested", async () => {
  const volume = folderWith("volume", "file");
  const inner = join(volume, "inner");
  mkdirSync(inner);
  await mount(tmpfs(["noexec"]), inner, deadline);
  const readOnly = async (mode: string, path: string) => {
    const guest = await share.addBind(volume, ["rbind", mode], deadline);
    return isReadOnly(() => writeFileSync(join(exported(guest), path), ""));
  };
  assert.deepEqual([await readOnly("ro", "x"), await readOnly("ro", "inner/x")], [true, false]);
  assert.deepEqual([await readOnly("rro", "x"), await readOnly("rro", "inner/x")], [true, true]);
  writeFileSync(join(inner, "host"), "the host's own mount is as it was");
  const infos = await readMountInfo();
  const noexec = infos.filter(
    ({ target, options }) => /export\/.*\/inner$/.test(target) && options.includes("noexec"),
  );
  assert.equal(noexec.length, 2);
});

test("no host device can be opened where virtiofsd serves it, in any mount", async () => {
  const volume = folderWith("volume", "file");
  const inner = join(volume, "inner");
  for (const place of [inner, join(volume, "other")]) mkdirSync(place);
  await mount(tmpfs([]), inner, deadline);
  for (const place of [volume, inner]) await run(["mknod", join(place, "null"), "c", "1", "3"], deadline);
  const bind = { type: "bind", source: volume, target: "", options: ["rbind", "rw"] };
  const paths = [
    await share.addBind(volume, ["rbind", "dev", "suid"], deadline),
    await share.addRootfs([bind], deadline),
    await share.addRootfs([bind, { ...tmpfs([]), target: "other" }], deadline),
  ];
  for (const path of paths) {
    for (const name of ["null", "inner/null"])
      assert.throws(() => readFileSync(join(exported(path), name)), { code: "EACCES" });
  }
  assert.equal(readFileSync(join(volume, "null"), "utf8"), "");
});

test("a source that is mounted read-only stays read-only, even with rw", async () => {
  const volume = join(directory, "volume");
  mkdirSync(volume);
  await mount(tmpfs(["ro"]), volume, deadline);
  const guest = await share.addBind(volume, ["rbind", "rw"], deadline);
  assert.ok(isReadOnly(() => writeFileSync(join(exported(guest), "x"), "")));
});

test("the host's later mounts below a volume show unless private; a release keeps them", async () => {
  const volume = folderWith("volume", "file");
  await run(["mount", "--bind", "--make-private", "--make-shared", "--", volume, volume], deadline);
  for (const name of ["before", "later"]) mkdirSync(join(volume, name));
  await mount(tmpfs([]), join(volume, "before"), deadline);
  writeFileSync(join(volume, "before/here"), "");
  const follows = await share.addBind(volume, ["rbind", "rshared"], deadline);
  const keeps = await share.addBind(volume, ["rbind", "rprivate"], deadline);
  await mount(tmpfs([]), join(volume, "later"), deadline);
  writeFileSync(join(volume, "later/here"), "");
  const seen = (path: SharedPath) =>
    ["before", "later"].flatMap((name) => readdirSync(join(exported(path), name)));
  assert.deepEqual([seen(follows), seen(keeps)], [["here", "here"], ["here"]]);
  for (const path of [follows, keeps]) await path.release(deadline);
  assert.deepEqual(await mountsBelow(volume), [volume, join(volume, "before"), join(volume, "later")]);
});

test("a root file system is served completely: a list of mounts, or a bind", async () => {
  const image = folderWith("image", "file");
  mkdirSync(join(image, "sub"));
  const bind = { type: "bind", source: image, target: "", options: ["rbind", "ro"] };
  const one = await share.addRootfs([bind], deadline);
  const list = await share.addRootfs([bind, { ...tmpfs(["size=64k"]), target: "sub" }], deadline);
  for (const rootfs of [one, list]) {
    assert.equal(readFileSync(join(exported(rootfs), "file"), "utf8"), "file");
    assert.ok(isReadOnly(() => writeFileSync(join(exported(rootfs), "x"), "")));
  }
  writeFileSync(join(exported(list), "sub/x"), "");
  assert.deepEqual(readdirSync(join(image, "sub")), []);
  for (const rootfs of [one, list]) await rootfs.release(deadline);
  assert.deepEqual(readdirSync(share.exported), []);
});

test("a source that does not answer is awaited only until the caller's deadline", async (t) => {
  t.mock.method(api, "find", () => new Promise(() => undefined)); // its server does not answer
  const short = Deadline.after(20, "create a container");
  await assert.rejects(share.addBind(directory, ["rbind"], short), { code: "DeadlineExceeded" });
});

test("a failed mount leaves nothing", async () => {
  await assert.rejects(share.addBind(join(directory, "none"), [], deadline), { code: "NotFound" });
  const image = folderWith("image", "file");
  symlinkSync("/", join(image, "proc"));
  const list = [
    { type: "bind", source: image, target: "", options: ["rbind"] },
    { ...tmpfs([]), target: "proc" },
  ];
  await assert.rejects(share.addRootfs(list, deadline), { code: "FailedPrecondition" });
  assert.deepEqual(readdirSync(share.exported), []);
  assert.equal((await mountsBelow(join(directory, "shared"))).length, 3);
  await assert.rejects(SharedTree.create(join(directory, "shared"), api, deadline), { code: "EEXIST" });
});

test("a mount that completes after its deadline is removed", async () => {
  const over = Deadline.none();
  over.cancel("timed out");
  const late = join(directory, "late");
  await assert.rejects(SharedTree.create(late, api, over), { message: /timed out/ });
  assert.deepEqual([existsSync(late), await mountsBelow(late)], [false, []]);
  const volume = folderWith("volume", "file");
  await assert.rejects(share.addBind(volume, ["rbind"], over), { message: /timed out/ });
  assert.deepEqual(readdirSync(share.exported), []);
});
