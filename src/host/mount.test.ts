import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { ownMountApi } from "../../test/testkit/mount-api.ts";
import { Deadline } from "../core/deadline.ts";
import { parseMountInfo } from "../core/mountinfo.ts";
import { mountsBelow, unmountTree } from "./mount.ts";
import { mountAll } from "./mount-list.ts";

const notRoot = process.getuid?.() !== 0 && "needs root";
let directory: string;
const deadline = Deadline.none();
const api = ownMountApi();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-mount-"));
});
afterEach(async () => {
  if (!notRoot) await unmountTree(directory, deadline);
  await rm(directory, { recursive: true });
});

const bind = (source: string, target = "") => ({ type: "bind", source, target, options: ["rbind", "ro"] });

test("mountinfo: escapes, optional fields", () => {
  const line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:4 - ext3 /dev/root rw,errors=continue";
  assert.deepEqual(parseMountInfo(`${line}\nrubbish\n`), [
    {
      id: 36,
      root: "/mnt1",
      target: "/mnt 2",
      options: ["rw", "noatime"],
      fields: ["master:1", "shared:4"],
      type: "ext3",
      source: "/dev/root",
      superOptions: ["rw", "errors=continue"],
    },
  ]);
});

test("binds and overlays are mounted in order and all are unmounted", { skip: notRoot }, async () => {
  for (const name of ["a", "b", "up", "work", "at"]) await mkdir(join(directory, name));
  await writeFile(join(directory, "a", "file"), "from a");
  await mkdir(join(directory, "b", "sub"));
  const at = join(directory, "at");
  const options = [
    `lowerdir=${directory}/a:${directory}/b`,
    `upperdir=${directory}/up`,
    `workdir=${directory}/work`,
  ];
  // Overlayfs cannot be stacked on itself (in a container), so upper and work are on a tmpfs.
  const list = [
    { type: "overlay", source: "overlay", target: "", options },
    bind(join(directory, "a"), "sub"),
  ];
  await mountAll(list, at, api, deadline);
  assert.equal(await readFile(join(at, "sub", "file"), "utf8"), "from a");
  await assert.rejects(writeFile(join(at, "sub", "file"), "x"), { code: "EROFS" });
  await writeFile(join(at, "new"), "x");
  assert.deepEqual(await mountsBelow(at), [at, join(at, "sub")]);
  await unmountTree(at, deadline);
  await unmountTree(at, deadline);
  assert.deepEqual(await mountsBelow(directory), []);
  assert.deepEqual(await readdir(at), []);
});

test("stacked mounts and names with spaces are unmounted", { skip: notRoot }, async () => {
  const at = join(directory, "with space");
  await mkdir(at);
  const tmpfs = { type: "tmpfs", source: "tmpfs", target: "", options: ["size=64k"] };
  await mountAll([tmpfs, tmpfs, tmpfs], at, api, deadline);
  assert.equal((await mountsBelow(at)).length, 3);
  await unmountTree(at, deadline);
  assert.deepEqual(await mountsBelow(at), []);
});

test("a symlink in a mount does not redirect an unmount", { skip: notRoot }, async () => {
  const [at, outside] = [join(directory, "at"), join(directory, "outside")];
  for (const path of [at, outside]) await mkdir(path);
  const tmpfs = (target = "") => ({ type: "tmpfs", source: "tmpfs", target, options: ["size=64k"] });
  await mountAll([tmpfs()], outside, api, deadline);
  await mountAll([tmpfs()], at, api, deadline);
  await mkdir(join(at, "name"));
  await mountAll([tmpfs("name")], at, api, deadline);
  await mountAll([tmpfs()], at, api, deadline);
  await symlink(outside, join(at, "name"));
  await unmountTree(at, deadline);
  assert.deepEqual(await mountsBelow(directory), [outside]);
});

test("a failing mount is reported with its cause, and those before it are undone", {
  skip: notRoot,
}, async () => {
  const at = join(directory, "at");
  await mkdir(at);
  const tmpfs = { type: "tmpfs", source: "tmpfs", target: "", options: [] };
  await assert.rejects(mountAll([tmpfs, bind("/no/such/source")], at, api, deadline), {
    code: "FailedPrecondition",
    message: /^mount source \/no\/such\/source: no such file or directory/,
  });
  assert.deepEqual(await mountsBelow(directory), []);
});

test("a mount is not redirected by symlinks of the image", { skip: notRoot }, async () => {
  for (const name of ["image/etc", "outside"]) await mkdir(join(directory, name), { recursive: true });
  await symlink("../outside", join(directory, "image/out"));
  await symlink("/", join(directory, "image/all"));
  await symlink("etc", join(directory, "image/inside"));
  const image = join(directory, "image");
  const tmpfs = (target: string) => ({ type: "tmpfs", source: "tmpfs", target, options: ["size=64k"] });
  for (const target of ["out", "/all/etc", "inside", "../outside", "etc/../../outside"]) {
    await assert.rejects(mountAll([tmpfs(target)], image, api, deadline), {
      code: "FailedPrecondition",
      message: /mounts do not follow those/,
    });
  }
  assert.deepEqual(await mountsBelow(directory), []);
  await assert.rejects(mountAll([tmpfs("none")], image, api, deadline), { code: "FailedPrecondition" });
  await mountAll([tmpfs("/etc/")], image, api, deadline);
  assert.deepEqual(await mountsBelow(directory), [join(image, "etc")]);
});

test("an overlay with more layers than fit into a page of options is mounted", {
  skip: notRoot,
}, async () => {
  const layers = Array.from({ length: 60 }, (_, index) => join(directory, `${index}-${"x".repeat(60)}`));
  for (const layer of layers) await mkdir(layer);
  await writeFile(join(layers[59] as string, "last"), "deep");
  await mkdir(join(directory, "at"));
  const options = [`lowerdir=${layers.join(":")}`];
  assert.ok(options.join().length > 4096);
  await mountAll(
    [{ type: "overlay", source: "overlay", target: "", options }],
    join(directory, "at"),
    api,
    deadline,
  );
  assert.equal(await readFile(join(directory, "at", "last"), "utf8"), "deep");
});

test("sources whose file server hangs only block their own callers", { skip: notRoot }, async () => {
  // A FUSE file system whose server never answers.
  const server = openSync("/dev/fuse", "r+");
  try {
    const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
    execFileSync("mount", ["-i", "-t", "fuse", "-o", options, "dead", directory], {
      stdio: ["ignore", "inherit", "inherit", server],
    });
    const finding = Array.from({ length: 20 }, () => api.find(`${directory}/file`));
    const failed = Promise.all(finding.map((one) => assert.rejects(one, /^HullError: mount source /)));
    await api.withSource("/", async (source) => assert.equal((await source.stat()).kind, "directory"));
    assert.match(await readFile("/proc/self/stat", "utf8"), /^\d+ /);
    closeSync(server); // ends the file system
    await failed;
  } finally {
    await unmountTree(directory, deadline);
  }
});
