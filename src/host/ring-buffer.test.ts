import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { lastLines, RingBuffer } from "./ring-buffer.ts";

test("keeps exactly the end of what was written", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.map((byte) => 97 + (byte % 26)))),
      fc.integer({ min: 1, max: 50 }),
      (pieces, capacity) => {
        const ring = new RingBuffer(capacity);
        for (const piece of pieces) ring.write(piece);
        const all = Buffer.concat(pieces).toString("latin1");
        assert.equal(ring.text(), all.slice(-capacity));
        assert.equal(ring.length, Math.min(capacity, all.length));
      },
    ),
  );
});

test("keeps 64 KiB by default", () => {
  const ring = new RingBuffer();
  ring.write(Buffer.alloc(100_000, "x"));
  assert.equal(ring.text().length, 64 << 10);
});

test("does not alias the writer's buffer", () => {
  const ring = new RingBuffer();
  const buffer = Buffer.from("abc");
  ring.write(buffer);
  buffer.fill("x");
  assert.equal(ring.text(), "abc");
});

test("terminal control sequences from a guest or a VMM are not kept", () => {
  const ring = new RingBuffer();
  ring.write(Buffer.from("\x1b]0;title\x07boot\r\n\x1b[31mKernel panic\x1b[0m\b\b \xc2\x9b2J", "latin1"));
  assert.equal(ring.text(), "boot\nKernel panic ");
});

test("last lines leave out empty lines and terminal control", () => {
  assert.equal(lastLines("one\r\n\x1b[2Jtwo\r\n\r\n\x1bcthree\n", 2), "two\nthree");
  assert.equal(lastLines("", 3), "");
  assert.equal(lastLines("x".repeat(64 << 10), 3).length, 500);
});
