import assert from "node:assert/strict";
import { Deadline } from "../../../src/core/deadline.ts";
import { HullError } from "../../../src/core/errors.ts";
import { ApiClient } from "../../../src/hypervisor/cloud-hypervisor/api-client.ts";
import { EventDecoder } from "../../../src/hypervisor/cloud-hypervisor/event-monitor.ts";
import { piecesOf } from "../engine/pieces.ts";
import { LONGEST, type Target } from "../engine/target.ts";
import { UnixServer } from "./unix-server.ts";

const answer = (status: string, body: string) =>
  `HTTP/1.1 ${status}\r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const server = new UnixServer();

/** The answers of Cloud Hypervisor's API: every call settles, with a HullError or a well-formed answer. */
export const cloudHypervisorApi: Target = {
  name: "cloud-hypervisor-api",
  seeds: [
    answer(
      "200 OK",
      JSON.stringify({ config: { cpus: {} }, state: "Running", memory_actual_size: 536870912 }),
    ),
    answer("500 Internal Server Error", JSON.stringify(["The VM could not boot", "VM config is missing"])),
    answer("404 Not Found", "no such VM"),
    answer("204 No Content", ""),
  ],
  tokens: ["Transfer-Encoding: chunked\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "Content-Length: 0\r\n"],
  async run(input) {
    server.reply = input;
    const client = new ApiClient(await server.path());
    const deadline = Deadline.after(60_000, "the call");
    try {
      assert.equal(typeof (await client.info(deadline)).state, "string");
      return true;
    } catch (thrown) {
      assert.ok(thrown instanceof HullError, String(thrown));
      assert.notEqual(thrown.code, "DeadlineExceeded", "it hangs");
      assert.ok(thrown.message.length < 2_000, `${thrown.message.length} characters`);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters of terminals
      assert.doesNotMatch(thrown.message, /[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
      return false;
    } finally {
      deadline.dispose();
      client.close();
    }
  },
  close: () => server.close(),
};

const EVENTS = [
  { timestamp: { secs: 0, nanos: 1 }, source: "vm", event: "booted", properties: null },
  { timestamp: { secs: 1, nanos: 1 }, source: "vm", event: "device-removed", properties: { id: "net1" } },
];

/**
 * Cloud Hypervisor's event monitor: a damaged stream yields well-formed events or none, however it is split.
 */
export const cloudHypervisorEvents: Target = {
  name: "cloud-hypervisor-events",
  seeds: [EVENTS.map((event) => `${JSON.stringify(event, undefined, 2)}\n\n`).join("")],
  run(input) {
    const text = input.toString("latin1");
    const [whole, cut] = [new EventDecoder(), new EventDecoder()];
    const events = whole.push(text);
    const again = piecesOf(input).flatMap((piece) => cut.push(Buffer.from(piece).toString("latin1")));
    // Input longer than an event may be is skipped if it comes in pieces.
    if (input.length <= LONGEST) assert.deepEqual(again, events);
    for (const event of events) {
      assert.ok([event.source, event.event, ...Object.values(event.properties)].every(isString));
    }
    return events.length > 0;
  },
};

const isString = (value: unknown) => typeof value === "string";
