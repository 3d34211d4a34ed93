import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { stallingTool } from "../../test/testkit/stalling-tool.ts";
import { within } from "../../test/testkit/within.ts";
import { mountsBelow } from "../host/mount.ts";
import { createNetns } from "./own-netns.ts";

test("a namespace that is not created in time is removed nevertheless", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-netns-"));
  t.after(() => rm(directory, { recursive: true }));
  const ip = await stallingTool(t, "ip");
  const [path, ledger, deadline] = [join(directory, "netns"), new MemoryLedger(), within(60_000)];
  const making = assert.rejects(createNetns(path, ledger, deadline), { code: "Canceled" });
  await ip.called();
  assert.deepEqual(await mountsBelow(directory), [path]);
  deadline.cancel();
  await making;
  assert.deepEqual([await mountsBelow(directory), ledger.resources], [[], []]);
});
