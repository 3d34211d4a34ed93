import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventDecoder } from "./event-monitor.ts";

// As event_monitor/src/lib.rs writes them.
const BOOTED = `{
  "timestamp": {
    "secs": 0,
    "nanos": 95216934
  },
  "source": "vm",
  "event": "booted",
  "properties": null
}

`;
const REMOVED = `{
  "timestamp": {
    "secs": 7,
    "nanos": 1
  },
  "source": "vm",
  "event": "device-removed",
  "properties": {
    "id": "disk-data",
    "bdf": "0000:00:05.0"
  }
}

`;
const EVENTS = [
  { source: "vm", event: "booted", properties: {} },
  { source: "vm", event: "device-removed", properties: { id: "disk-data", bdf: "0000:00:05.0" } },
];

test("reads events with and without properties", () => {
  assert.deepEqual(new EventDecoder().push(BOOTED + REMOVED), EVENTS);
});

test("returns the same events however the stream is split", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(BOOTED.length + REMOVED.length), { maxLength: 8 }), (cuts) => {
      const text = BOOTED + REMOVED;
      const edges = [0, ...cuts.sort((a, b) => a - b), text.length];
      const decoder = new EventDecoder();
      const seen = edges.slice(1).flatMap((end, index) => decoder.push(text.slice(edges[index], end)));
      assert.deepEqual(seen, EVENTS);
      assert.equal(decoder.skipped, 0);
    }),
  );
});

test("skips and counts an incomplete event, and continues with the next", () => {
  const decoder = new EventDecoder();
  assert.deepEqual(decoder.push(`${BOOTED.slice(0, 40)}\n\n${REMOVED}`), [EVENTS[1]]);
  assert.equal(decoder.skipped, 1);
  assert.deepEqual(decoder.push('[1]\n\n"x"\n\n{"source":1,"event":"e"}\n\n'), []);
  assert.equal(decoder.skipped, 4);
});

test("discards an endless event", () => {
  const decoder = new EventDecoder();
  for (let written = 0; written < 1 << 20; written += 4096) decoder.push("x".repeat(4096));
  assert.equal(decoder.push(`\n\n${BOOTED}`).length, 1);
  assert.ok(decoder.skipped >= 1);
});

test("accepts an event whose values are nested too deeply", () => {
  const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
  const [event] = new EventDecoder().push(`{"source":"vm","event":"e","properties":{"id":${deep}}}\n\n`);
  assert.equal(event?.event, "e");
});
