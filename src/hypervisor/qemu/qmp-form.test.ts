import assert from "node:assert/strict";
import { test } from "node:test";
import { duplexPair } from "../../../test/testkit/duplex-pair.ts";
import { Deadline } from "../../core/deadline.ts";
import { exitReason } from "./exit-reason.ts";
import { QmpClient } from "./qmp-client.ts";

const NOT_TEXT = { toString: 1, valueOf: 1 };
/** JSON.parse accepts it, but JSON.stringify overflows the stack. */
const DEEP = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;

/** A client and the end of a fake QEMU, after the handshake. */
async function connected() {
  const [near, far] = duplexPair();
  far.once("data", () => far.write('{"return": {}, "id": 1}\n'));
  const deadline = Deadline.after(30_000, "QMP");
  const connecting = QmpClient.connect(near, deadline);
  far.write('{"QMP": {}}\n');
  return { client: await connecting, far, deadline };
}

test("an event that lacks what its listeners read ends the connection, not the shim", async () => {
  const { client, far, deadline } = await connected();
  client.on("ACPI_DEVICE_OST", ({ info }) => info.device);
  const pending = client.execute("query-status", undefined, deadline);
  far.write('{"event": "ACPI_DEVICE_OST", "data": {}}\n');
  await assert.rejects(pending, {
    code: "Internal",
    message: /event ACPI_DEVICE_OST has an unknown form: \{\}/,
  });
  deadline.dispose();
});

test("an error whose class and description are not strings is still reported", async () => {
  const { client, far, deadline } = await connected();
  const pending = client.execute("query-status", undefined, deadline);
  far.write(`${JSON.stringify({ id: 2, error: { class: NOT_TEXT, desc: NOT_TEXT } })}\n`);
  await assert.rejects(pending, { code: "FailedPrecondition", message: /query-status: \{"toString":1/ });
  client.close();
  deadline.dispose();
});

test("a shutdown whose reason is not a string still has a reason", () => {
  const exit = { code: 0, signal: null, requested: false, reason: "it ended", stderr: "" };
  const shutdown = { guest: true, reason: NOT_TEXT as unknown as string };
  assert.match(exitReason(exit, shutdown, ""), /^it ended \(QEMU's reason: \{"toString"/);
});

test("values that are nested too deeply fail one command, or end the connection if in an event", async () => {
  const { client, far, deadline } = await connected();
  const pending = client.execute("query-status", undefined, deadline);
  far.write(`{"id": 2, "error": {"class": ${DEEP}, "desc": ${DEEP}}}\n`);
  await assert.rejects(pending, { code: "FailedPrecondition", message: /nested too deep/ });
  client.on("ACPI_DEVICE_OST", ({ info }) => info.device);
  const lost = client.execute("query-status", undefined, deadline);
  far.write(`{"event": "ACPI_DEVICE_OST", "data": {"info": null, "more": ${DEEP}}}\n`);
  await assert.rejects(lost, { code: "Internal", message: /unknown form: a value that is nested too deep/ });
  deadline.dispose();
});
