import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PathAccess } from "./path-access.ts";

const USER = { id: 1_500_000_001 };
let root: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-access-")); // 0700
  await mkdir(join(root, "guest"));
  for (const name of ["vmlinux", "secret"]) await writeFile(join(root, "guest", name), name);
  await chmod(join(root, "guest/secret"), 0o600);
  await symlink(join(root, "guest/vmlinux"), join(root, "link"));
});
after(() => rm(root, { recursive: true }));

test("accessible paths are unchanged, others begin with a descriptor of their directory", async () => {
  const access = new PathAccess(USER, 7);
  assert.equal(await access.addFile("/bin/sh", "execute"), "/bin/sh");
  assert.deepEqual(access.fds, []);
  assert.equal(await access.addFile(join(root, "guest/vmlinux")), "/proc/self/fd/7/vmlinux");
  assert.equal(await access.addFile(join(root, "link")), "/proc/self/fd/7/vmlinux");
  await access.addDirectory(root);
  assert.equal(access.fds.length, 2);
  assert.equal(access.at(join(root, "fs.sock")), "/proc/self/fd/8/fs.sock");
  assert.equal(access.at(`${root}-other/fs.sock`), `${root}-other/fs.sock`);
  await access.close();
});

test("a file whose mode forbids access is refused with the remedy", async () => {
  const access = new PathAccess(USER, 3);
  await assert.rejects(access.addFile(join(root, "guest/secret")), {
    code: "FailedPrecondition",
    message: /secret: an unprivileged user may not read it \(mode 600\); .*chmod o\+r/,
  });
  await assert.rejects(access.addFile(join(root, "guest/vmlinux"), "execute"), {
    code: "FailedPrecondition",
  });
  assert.deepEqual(access.fds, []);
});

test("without a user, paths are unchanged", async () => {
  const access = new PathAccess(undefined, 3);
  const path = join(root, "guest/secret");
  await access.addDirectory(root);
  assert.deepEqual([await access.addFile(path), access.at(path), access.fds], [path, path, []]);
});
