import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { startVsockDaemon } from "./vhost-device-vsock.ts";

let directory: string;
let ledger: MemoryLedger;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-vsd-"));
  ledger = new MemoryLedger();
});
afterEach(() => rm(directory, { recursive: true }));

/** A program that acts as the daemon; $SOCKET is its --socket argument. */
async function fakeDaemon(script: string): Promise<string> {
  const path = join(directory, "daemon");
  await writeFile(path, `#!/bin/sh\nSOCKET=$4\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

test("start resolves when the socket listens, not when its name appears; stop leaves nothing", async () => {
  const listen =
    'require("fs").unlinkSync(process.argv[1]); require("net").createServer().listen(process.argv[1])';
  const path = await fakeDaemon(`: > "$SOCKET"; : > "$6"; sleep 0.3; exec node -e '${listen}' "$SOCKET"`);
  const daemon = await startVsockDaemon({ path, directory, pod: "test/p" }, ledger, within(20_000));
  assert.equal(daemon.vhostUserSocket, join(directory, "vhu.sock"));
  const client = connect(daemon.vhostUserSocket);
  await once(client, "connect");
  client.destroy();
  assert.equal(ledger.resources.length, 3);
  await daemon.stop(within(30_000));
  assert.deepEqual(ledger.resources, []);
  assert.deepEqual(await readdir(directory), ["daemon"]);
});

test("a socket left by an earlier daemon is not mistaken for the new one's", async () => {
  await writeFile(join(directory, "vhu.sock"), "");
  const path = await fakeDaemon("exec sleep 60");
  await assert.rejects(startVsockDaemon({ path, directory, pod: "test/p" }, ledger, within(200)), {
    code: "DeadlineExceeded",
  });
  assert.deepEqual(ledger.resources, []);
});

test("the error about a daemon that exits at once has its stderr, long before the deadline", async () => {
  const path = await fakeDaemon("echo 'no such option' >&2; exit 2");
  await assert.rejects(startVsockDaemon({ path, directory, pod: "test/p" }, ledger, within(20_000)), {
    code: "Unavailable",
    message: /vhost-device-vsock exited with status 2: no such option/,
  });
  assert.deepEqual(ledger.resources, []);
});

test("a missing daemon is FailedPrecondition", async () => {
  await assert.rejects(
    startVsockDaemon({ path: join(directory, "none"), directory, pod: "test/p" }, ledger, within(30_000)),
    { code: "FailedPrecondition" },
  );
  assert.deepEqual(ledger.resources, []);
});
