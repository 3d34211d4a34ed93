import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { HOST_PORT } from "../core/guest-ports.ts";
import { pollUntil } from "../core/poll-until.ts";
import { expectGuestCall } from "./guest-call.ts";

function temporaryDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "hull-call-"));
  return { path, remove: () => rmSync(path, { recursive: true }) };
}

test("the guest's first connection is accepted, and nothing is left", async () => {
  const { path, remove } = temporaryDirectory();
  const ledger = new MemoryLedger();
  const call = await expectGuestCall(join(path, "vs.sock"), ledger);
  assert.equal(ledger.resources.length, 1);
  const guest = createConnection(join(path, `vs.sock_${HOST_PORT}`));
  guest.write("hello");
  const deadline = within(30_000);
  const socket = await call.answered(deadline);
  deadline.dispose();
  const text = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))));
  assert.equal(text, "hello");
  assert.ok(!existsSync(join(path, `vs.sock_${HOST_PORT}`)));
  assert.equal(ledger.resources.length, 0);
  guest.destroy();
  socket.destroy();
  remove();
});

test("a guest that connects a hundred times at once keeps one connection", async () => {
  const { path, remove } = temporaryDirectory();
  const call = await expectGuestCall(join(path, "vs.sock"), new MemoryLedger());
  let ended = 0;
  const calls = Array.from({ length: 100 }, () =>
    createConnection(join(path, `vs.sock_${HOST_PORT}`))
      .on("error", () => undefined)
      .on("close", () => ended++)
      .resume(),
  );
  const socket = await call.answered(within(5_000));
  await pollUntil(() => ended === calls.length - 1, within(5_000));
  const open = calls.filter(({ closed }) => !closed);
  assert.equal(open.length, 1);
  const heard = new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))));
  open[0]?.write("hello");
  assert.equal(await heard, "hello", "it is the one that counts");
  socket.destroy();
  for (const one of calls) one.destroy();
  remove();
});

test("a guest that does not connect is awaited until the deadline", async () => {
  const { path, remove } = temporaryDirectory();
  const ledger = new MemoryLedger();
  const call = await expectGuestCall(join(path, "vs.sock"), ledger);
  await assert.rejects(call.answered(within(30, "the guest's call")), { code: "DeadlineExceeded" });
  await call.close();
  assert.equal(ledger.resources.length, 0);
  remove();
});
