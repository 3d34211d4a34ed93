import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { lstat, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MemoryLedger } from "../../../test/testkit/memory-ledger.ts";
import { within } from "../../../test/testkit/within.ts";
import { VmDirectory } from "./vm-directory.ts";

const USER = { id: 1_500_000_003 };
let root: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-vm-directory-"));
});
after(() => rm(root, { recursive: true }));

const facts = async (path: string) => {
  const { uid, gid, mode } = await lstat(path);
  return [uid, gid, mode & 0o777];
};

test("a VM's directory is the user's until it is sealed, then only its sockets are", async () => {
  const ledger = new MemoryLedger();
  const directory = await VmDirectory.create(join(root, "vm"), USER, ledger);
  assert.deepEqual(ledger.resources, [{ kind: "directory", path: directory.path }]);
  assert.deepEqual(await facts(directory.path), [USER.id, USER.id, 0o700]);
  const server = createServer().listen(join(directory.path, "fs.sock"));
  await once(server, "listening");
  const target = join(root, "target");
  await symlink(target, join(directory.path, "link"));
  await directory.seal();
  assert.deepEqual(await facts(directory.path), [0, USER.id, 0o710]);
  const [uid, gid] = await facts(join(directory.path, "fs.sock"));
  assert.deepEqual([uid, gid], [USER.id, USER.id]);
  assert.equal((await lstat(join(directory.path, "link"))).uid, 0);
  server.close();
  await directory.remove(within(30_000));
  await directory.remove(within(30_000));
  assert.deepEqual([ledger.resources, existsSync(directory.path)], [[], false]);
});

test("a VM's directory without a user is root's alone", async () => {
  const directory = await VmDirectory.create(join(root, "root"), undefined, new MemoryLedger());
  await directory.seal();
  assert.equal((await stat(directory.path)).mode & 0o777, 0o700);
  assert.equal((await stat(directory.path)).uid, 0);
});
