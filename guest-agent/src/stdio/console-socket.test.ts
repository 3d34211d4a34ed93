import assert from "node:assert/strict";
import { it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { ConsoleSocket } from "./console-socket.ts";

it("a failing accept fails the start of the terminal, not the agent", async () => {
  const fake = new FakeSys();
  fake.tree.mkdirp("/run");
  const socket = new ConsoleSocket(fake.sys, "/run/console");
  const master = socket.master();
  fake.acceptFails = "EMFILE";
  fake.dial("/run/console");
  for (let turn = 0; turn < 20; turn++) fake.turn();
  await assert.rejects(master, { code: "EMFILE" });
  assert.equal(fake.accepts, 1);
  socket.close();
  assert.deepEqual([fake.openFds, fake.watchCount], [0, 0]);
});
