import assert from "node:assert/strict";
import { Deadline } from "../../../src/core/deadline.ts";
import { HullError } from "../../../src/core/errors.ts";
import { exitReason } from "../../../src/hypervisor/qemu/exit-reason.ts";
import { QmpClient } from "../../../src/hypervisor/qemu/qmp-client.ts";
import type { QmpEvents } from "../../../src/hypervisor/qemu/qmp-types.ts";
import { duplexPair } from "../../testkit/duplex-pair.ts";
import { piecesOf } from "../engine/pieces.ts";
import type { Target } from "../engine/target.ts";

/** QEMU's messages in one conversation: greeting, answers, an error, events. */
const CONVERSATION = [
  { QMP: { version: { qemu: { micro: 2, minor: 2, major: 7 } }, capabilities: ["oob"] } },
  { return: {}, id: 1 },
  { event: "ACPI_DEVICE_OST", data: { info: { device: "d", source: 1, status: 0 } } },
  { event: "MIGRATION", data: { status: "completed" } },
  { return: { status: "running", running: true }, id: 2 },
  { event: "DEVICE_DELETED", data: { device: "d", path: "/machine/peripheral/d" } },
  { error: { class: "DeviceNotFound", desc: "Device 'd' not found" }, id: 3 },
  { event: "SHUTDOWN", data: { guest: true, reason: "guest-reset" } },
];
const EXIT = { code: 0, signal: null, requested: false, reason: "ended", stderr: "" };

/** QMP: every command settles, with a HullError or an answer; every event can be read. */
export const qmp: Target = {
  name: "qmp",
  seeds: [CONVERSATION.map((line) => `${JSON.stringify(line)}\r\n`).join("")],
  tokens: ['"id":1', '"error":', '"event":', '"return":', "\r\n", '{"QMP":{}}\n'],
  async run(input) {
    const [near, far] = duplexPair();
    far.resume();
    const deadline = Deadline.after(60_000, "the conversation");
    const ended = converse(near, deadline);
    // An answer before its command is ignored, so send the greeting, one answer, then the others.
    const [greeting = "", first = "", ...rest] = input.toString("latin1").split(/(?<=\n)/);
    for (const part of [greeting, first, rest.join("")]) {
      for (const piece of piecesOf(Buffer.from(part, "latin1"))) far.write(piece);
      for (let turn = 0; turn < 6; turn++) await new Promise(setImmediate);
    }
    far.end();
    let accepted = false;
    for (const outcome of await ended) {
      accepted ||= outcome.status === "fulfilled";
      if (outcome.status === "fulfilled") continue;
      assert.ok(outcome.reason instanceof HullError, String(outcome.reason));
      assert.notEqual(outcome.reason.code, "DeadlineExceeded", "it hangs");
      assert.ok(outcome.reason.message.length < 8_000, `${outcome.reason.message.length} characters`);
    }
    deadline.dispose();
    return accepted;
  },
};

async function converse(stream: ReturnType<typeof duplexPair>[0], deadline: Deadline) {
  const [connected] = await Promise.allSettled([QmpClient.connect(stream, deadline)]);
  if (connected.status === "rejected") return [connected];
  const client = connected.value;
  // As the driver uses events.
  client.on("ACPI_DEVICE_OST", ({ info }) => assert.notEqual(info.device, undefined));
  client.on("SHUTDOWN", (data: QmpEvents["SHUTDOWN"]) =>
    assert.ok(exitReason(EXIT, data, "").length < 1_000),
  );
  const outcomes = await Promise.allSettled([
    client.execute("query-status", undefined, deadline),
    client.execute("device_del", { id: "d" }, deadline),
  ]);
  client.close();
  return outcomes;
}
