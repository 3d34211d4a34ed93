import assert from "node:assert/strict";
import { once } from "node:events";
import { link, lstat, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { VmmDirectory } from "./vmm-directory.ts";

const USER = { id: 1_500_000_006 };

async function setUp(t: TestContext) {
  const root = await mkdtemp(join(tmpdir(), "hull-monitor-"));
  t.after(() => rm(root, { recursive: true }));
  const directory = await VmmDirectory.create(join(root, "clh"), USER);
  const listen = async (path: string) => {
    const server = createServer().listen(path);
    await once(server, "listening");
    t.after(() => server.close());
    return path;
  };
  return { root, directory, listen };
}

const facts = async (path: string) => {
  const { uid, gid, mode } = await lstat(path);
  return [uid, gid, mode & 0o777];
};

test("a VMM's directory is the user's until it is sealed, with the VMM's socket", async (t) => {
  const { directory, listen } = await setUp(t);
  assert.deepEqual(await facts(directory.path), [USER.id, USER.id, 0o700]);
  const socket = await listen(join(directory.path, "vs"));
  await directory.give(socket);
  await directory.seal(socket);
  assert.deepEqual(await facts(directory.path), [0, USER.id, 0o710]);
});

test("a link to a socket of the host is refused", async (t) => {
  const { root, directory, listen } = await setUp(t);
  const foreign = await listen(join(root, "containerd.sock"));
  const socket = join(directory.path, "vs");
  for (const plant of [symlink, link, () => Promise.resolve()]) {
    await plant(foreign, socket);
    await assert.rejects(directory.seal(socket), {
      code: "FailedPrecondition",
      message: /did not bind its own socket/,
    });
    await rm(socket, { force: true });
  }
});
