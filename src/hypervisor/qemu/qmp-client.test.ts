import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { duplexPair } from "../../../test/testkit/duplex-pair.ts";
import { FakeQmp, ok } from "../../../test/testkit/fake-qmp.ts";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import { PendingCalls } from "../../core/pending-calls.ts";
import { QmpClient, QmpError } from "./qmp-client.ts";

const soon = () => within(30_000);

test("greets, negotiates and matches replies by id, whatever their order", async () => {
  const gate = new EventEmitter();
  const fake = new FakeQmp([
    {
      command: "query-status",
      answers: [ok({ status: "running", running: true })],
      after: once(gate, "open"),
    },
    { command: "stop", answers: [ok({ second: true })] },
  ]);
  const calls = new PendingCalls();
  const client = await QmpClient.connect(fake.client, soon(), calls);
  const first = client.execute("query-status", undefined, soon());
  const second = client.execute("stop", undefined, soon());
  assert.deepEqual(await second, { second: true });
  assert.deepEqual(
    calls.describe().map(({ name }) => name),
    ["qemu: query-status"],
  );
  gate.emit("open");
  assert.deepEqual(await first, { status: "running", running: true });
  assert.deepEqual(fake.problems, []);
});

test("an error is a QmpError with its class; DeviceNotFound is not containerd's NotFound", async () => {
  const error = { error: { class: "DeviceNotFound", desc: "Device 'x' not found" }, id: "$id" };
  const fake = new FakeQmp([{ command: "device_del", answers: [error] }]);
  const client = await QmpClient.connect(fake.client, soon());
  await assert.rejects(client.execute("device_del", { id: "x" }, soon()), (thrown) => {
    assert.ok(thrown instanceof QmpError);
    assert.equal(thrown.code, "FailedPrecondition");
    assert.equal(thrown.message, "qemu: device_del: Device 'x' not found");
    return true;
  });
});

test("events reach their listeners with data until they are removed, between replies too", async () => {
  const shutdown = { event: "SHUTDOWN", data: { guest: true, reason: "guest-reset" } };
  const fake = new FakeQmp([{ command: "cont", answers: [shutdown, ok(), shutdown] }]);
  const client = await QmpClient.connect(fake.client, soon());
  const seen: unknown[] = [];
  const off = client.on("SHUTDOWN", (data) => {
    seen.push(data);
    off();
  });
  await client.execute("cont", undefined, soon());
  assert.deepEqual(seen, [{ guest: true, reason: "guest-reset" }]);
});

test("no answer: DeadlineExceeded with the last protocol lines; a late reply does no harm", async () => {
  const gate = new EventEmitter();
  const fake = new FakeQmp([
    { command: "stop", answers: [ok()], after: once(gate, "open") },
    { command: "cont", answers: [ok({ fresh: true })] },
  ]);
  const client = await QmpClient.connect(fake.client, soon());
  await assert.rejects(client.execute("stop", undefined, Deadline.after(20, "pause")), {
    code: "DeadlineExceeded",
    message: /qemu: stop: pause: timed out after 20 ms; the last QMP lines:\n(.*\n)*> \{"execute":"stop"/,
  });
  gate.emit("open");
  assert.deepEqual(await client.execute("cont", undefined, soon()), { fresh: true });
});

test("when the connection ends, pending and later commands are rejected", async () => {
  const fake = new FakeQmp([{ command: "stop", hangUp: true }]);
  const client = await QmpClient.connect(fake.client, soon());
  await assert.rejects(client.execute("stop", undefined, soon()), {
    code: "Unavailable",
    message: /was lost/,
  });
  await assert.rejects(client.execute("cont", undefined, soon()), { code: "Unavailable" });
});

test("no greeting, rubbish, or an endless line end the connection", async () => {
  const unresponsive = new FakeQmp([], null);
  await assert.rejects(QmpClient.connect(unresponsive.client, Deadline.after(30)), {
    code: "DeadlineExceeded",
    message: /greeting/,
  });
  for (const rubbish of ["}{\n", "7\n", "x".repeat(1024 * 1024 + 1)]) {
    const fake = new FakeQmp([{ command: "stop" }]);
    const client = await QmpClient.connect(fake.client, soon());
    const pending = client.execute("stop", undefined, soon());
    fake.server.write(rubbish);
    await assert.rejects(pending, { code: "Internal" });
  }
});

test("a message that arrives byte by byte is reassembled, also within a character", async () => {
  const fake = new FakeQmp([{ command: "stop" }]);
  const client = await QmpClient.connect(fake.client, soon());
  const pending = client.execute("stop", undefined, soon());
  const bytes = Buffer.from(`${JSON.stringify({ return: { text: "größe €" }, id: 2 })}\r\n`);
  for (const byte of bytes) fake.server.write(Buffer.from([byte]));
  assert.deepEqual(await pending, { text: "größe €" });
});

test("a message that arrives byte by byte takes time linear in its length", async () => {
  const [near, far] = duplexPair();
  far.resume();
  const connecting = QmpClient.connect(near, soon());
  const greeting = Buffer.from(`{"QMP":{}, "padding": "${"x".repeat(200_000)}"}\n`);
  const before = process.cpuUsage();
  for (let at = 0; at < greeting.length; at++) near.emit("data", greeting.subarray(at, at + 1));
  const { user } = process.cpuUsage(before);
  near.emit("data", Buffer.from('{"return":{},"id":1}\n'));
  near.destroy();
  await assert.rejects(connecting, /qmp_capabilities: .*lost/);
  assert.ok(user < 3e6, `${user / 1e6} s`);
});
