import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { stallingTool } from "../../test/testkit/stalling-tool.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { DeviceNodes } from "./device-nodes.ts";
import { mountsBelow } from "./mount.ts";
import { O_PATH } from "./mount-addon.ts";
import { dropPrivileges } from "./process-user.ts";
import { run } from "./run.ts";

const USER = { id: 1_500_000_002 };
/** Creates a directory that other users can search; it is removed after the test. */
async function freshRoot(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "hull-nodes-"));
  t.after(() => rm(root, { recursive: true }));
  await chmod(root, 0o711);
  return root;
}

// Mounting over a device would affect this machine; test/e2e/rootless.e2e.test.ts covers that.
test("a node is the host's device and only the user may open it; dispose leaves nothing", async () => {
  const root = await mkdtemp(join(tmpdir(), "hull-nodes-"));
  const directory = join(root, "dev");
  const ledger = new MemoryLedger();
  const deadline = Deadline.after(10_000, "test");
  const nodes = await DeviceNodes.create(directory, USER, [], ledger, deadline);
  assert.deepEqual(ledger.resources, [{ kind: "mount", path: directory }]);
  const node = await nodes.add("disk-1", "/dev/full", true, deadline);
  const [ours, host] = [await stat(node), await stat("/dev/full")];
  assert.ok(ours.isCharacterDevice());
  assert.equal(ours.rdev, host.rdev);
  assert.deepEqual([ours.uid, ours.gid, ours.mode & 0o777], [USER.id, USER.id, 0o600]);
  const { rdev } = await stat(await nodes.make("tap-1", { major: 1, minor: 7 }, deadline));
  assert.equal(rdev, host.rdev); // 1:7 is /dev/full (Documentation/admin-guide/devices.txt)
  await nodes.remove("disk-1");
  assert.equal(existsSync(node), false);
  await nodes.dispose(deadline);
  await nodes.dispose(deadline);
  assert.deepEqual([ledger.resources, await mountsBelow(root), existsSync(directory)], [[], [], false]);
  deadline.dispose();
  await rm(root, { recursive: true });
});

test("the user can neither write to a read-only node nor make it writable", async (t) => {
  const root = await freshRoot(t);
  const deadline = within(60_000);
  const nodes = await DeviceNodes.create(join(root, "dev"), USER, [], new MemoryLedger(), deadline);
  const tries = async (node: string) => {
    const script = "(: <$1) && echo read; (: >$1) && echo write; chmod 666 $1 && echo change; true";
    const output = await run(
      ["setpriv", ...dropPrivileges(USER), "--", "sh", "-c", script, "sh", node],
      deadline,
    );
    return output.trim().split("\n");
  };
  assert.deepEqual(await tries(await nodes.add("r", "/dev/full", false, deadline)), ["read"]);
  assert.deepEqual(await tries(await nodes.add("rw", "/dev/full", true, deadline)), [
    "read",
    "write",
    "change",
  ]);
  await nodes.dispose(deadline);
});

test("a removed node cannot be opened through a descriptor of its directory", async (t) => {
  const root = await freshRoot(t);
  const deadline = within(60_000);
  const nodes = await DeviceNodes.create(join(root, "dev"), USER, [], new MemoryLedger(), deadline);
  for (const writable of [true, false]) {
    const place = await open(await nodes.add("disk", "/dev/full", writable, deadline), O_PATH);
    t.after(() => place.close());
    const opened = () => {
      const argv = [...dropPrivileges(USER), "--", "sh", "-c", "(: </proc/self/fd/3) && echo opened"];
      const { stdout } = spawnSync("setpriv", argv, { stdio: ["ignore", "pipe", "ignore", place.fd] });
      return stdout.toString();
    };
    assert.equal(opened(), "opened\n");
    await nodes.remove("disk");
    await nodes.remove("disk");
    assert.equal(opened(), "");
  }
  await nodes.dispose(deadline);
});

test("nodes that were not created in time are removed", async (t) => {
  const root = await freshRoot(t);
  const cp = await stallingTool(t, "cp");
  const [directory, ledger, deadline] = [join(root, "dev"), new MemoryLedger(), within(60_000)];
  const making = DeviceNodes.create(directory, USER, ["/dev/hull-no-such"], ledger, deadline);
  const failed = assert.rejects(making, { code: "Canceled" });
  await cp.called();
  assert.deepEqual(await mountsBelow(root), [directory]);
  deadline.cancel();
  await failed;
  assert.deepEqual([ledger.resources, await mountsBelow(root), existsSync(directory)], [[], [], false]);
});

test("a missing device fails with its name and leaves nothing", async () => {
  const root = await mkdtemp(join(tmpdir(), "hull-nodes-"));
  const ledger = new MemoryLedger();
  const deadline = Deadline.after(10_000, "test");
  await assert.rejects(DeviceNodes.create(join(root, "dev"), USER, ["/dev/hull-no-such"], ledger, deadline), {
    message: /^create device nodes for user 1500000002: .*\/dev\/hull-no-such/,
  });
  assert.deepEqual([ledger.resources, await mountsBelow(root)], [[], []]);
  deadline.dispose();
  await rm(root, { recursive: true });
});
