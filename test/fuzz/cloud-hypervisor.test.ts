import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Deadline } from "../../src/core/deadline.ts";
import { HullError } from "../../src/core/errors.ts";
import { ApiClient } from "../../src/hypervisor/cloud-hypervisor/api-client.ts";
import { EventDecoder } from "../../src/hypervisor/cloud-hypervisor/event-monitor.ts";
import { mutate, mutateText, mutations, numRuns, pieces } from "./mutations.ts";

const answer = (status: string, body: string) =>
  `HTTP/1.1 ${status}\r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const ANSWERS = [
  answer("200 OK", JSON.stringify({ config: { cpus: {} }, state: "Running", memory_actual_size: 536870912 })),
  answer("500 Internal Server Error", JSON.stringify(["The VM could not boot", "VM config is missing"])),
  answer("404 Not Found", "no such VM"),
  answer("204 No Content", ""),
].map((text) => Buffer.from(text));

test("an API client survives damaged answers: every call ends with a HullError or an answer of a known form", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-fuzz-"));
  let reply: Uint8Array = new Uint8Array();
  const server = createServer((socket) => {
    socket.on("error", () => undefined); // the client may leave in the middle of it
    socket.once("data", () => socket.end(reply));
  });
  const path = join(directory, "api.sock");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(async () => {
    server.close();
    await rm(directory, { recursive: true });
  });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...ANSWERS), mutations, async (base, list) => {
      reply = mutate(base, list);
      const client = new ApiClient(path);
      const deadline = Deadline.after(30_000, "the call");
      try {
        assert.equal(typeof (await client.info(deadline)).state, "string");
      } catch (thrown) {
        assert.ok(thrown instanceof HullError, String(thrown));
        assert.notEqual(thrown.code, "DeadlineExceeded", "it hangs");
        assert.ok(thrown.message.length < 2_000, `${thrown.message.length} characters`);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal obeys is looked for
        assert.doesNotMatch(thrown.message, /[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
      } finally {
        deadline.dispose();
        client.close();
      }
    }),
    { numRuns },
  );
});

const EVENTS = [
  { timestamp: { secs: 0, nanos: 1 }, source: "vm", event: "booted", properties: null },
  { timestamp: { secs: 1, nanos: 1 }, source: "vm", event: "device-removed", properties: { id: "net1" } },
]
  .map((event) => `${JSON.stringify(event, undefined, 2)}\n\n`)
  .join("");

test("an event monitor's damaged stream gives events of a known form, or none", () => {
  fc.assert(
    fc.property(mutations, fc.integer({ min: 1, max: 100 }), (list, size) => {
      const decoder = new EventDecoder();
      for (const piece of pieces(Buffer.from(mutateText(EVENTS, list)), size)) {
        for (const event of decoder.push(Buffer.from(piece).toString("latin1"))) {
          assert.ok([event.source, event.event, ...Object.values(event.properties)].every(isString));
        }
      }
    }),
    { numRuns: numRuns * 10 },
  );
});

const isString = (value: unknown) => typeof value === "string";
