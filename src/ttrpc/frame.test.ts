import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytes, hex } from "../../test/testkit/ttrpc/hex.ts";
import { FrameDecoder, HEADER_LENGTH, MAX_PAYLOAD, writeHeader } from "./frame.ts";

interface Seen {
  streamId: number;
  type: number;
  flags: number;
  payload: string;
}

function record(): { decoder: FrameDecoder; frames: Seen[]; oversize: number[][] } {
  const frames: Seen[] = [];
  const oversize: number[][] = [];
  const decoder = new FrameDecoder({
    frame: (streamId, type, flags, payload) => frames.push({ streamId, type, flags, payload: hex(payload) }),
    oversize: (streamId, type, length) => oversize.push([streamId, type, length]),
  });
  return { decoder, frames, oversize };
}

function frame(streamId: number, type: number, flags: number, payload: Uint8Array): Uint8Array {
  const whole = new Uint8Array(HEADER_LENGTH + payload.length);
  writeHeader(whole, payload.length, streamId, type, flags);
  whole.set(payload, HEADER_LENGTH);
  return whole;
}

test("a header is big endian", () => {
  const header = new Uint8Array(HEADER_LENGTH);
  writeHeader(header, 0x00345678, 0xfedcba97, 3, 5);
  assert.equal(hex(header), "00345678fedcba970305");
});

test("frames are decoded from one chunk and from single bytes", () => {
  const stream = bytes("00000003 00000001 01 00 0a0b0c  00000000 ffffffff 02 00  00000001 00000003 03 05 ff");
  const expected = [
    { streamId: 1, type: 1, flags: 0, payload: "0a0b0c" },
    { streamId: 0xffffffff, type: 2, flags: 0, payload: "" },
    { streamId: 3, type: 3, flags: 5, payload: "ff" },
  ];
  const whole = record();
  whole.decoder.push(stream);
  assert.deepEqual(whole.frames, expected);
  const single = record();
  for (const byte of stream) single.decoder.push(Uint8Array.of(byte));
  assert.deepEqual(single.frames, expected);
});

test("a frame within one chunk is a view, not a copy", () => {
  const chunk = frame(1, 1, 0, bytes("0102"));
  let payload: Uint8Array | undefined;
  new FrameDecoder({
    frame: (_id, _type, _flags, view) => {
      payload = view;
    },
    oversize: () => assert.fail("not oversize"),
  }).push(chunk);
  assert.equal(payload?.buffer, chunk.buffer);
});

test("the frames do not depend on the chunks", () => {
  const arbitraryFrame = fc.record({
    streamId: fc.nat(0xffffffff),
    type: fc.nat(255),
    flags: fc.nat(255),
    payload: fc.uint8Array({ maxLength: 200 }),
  });
  fc.assert(
    fc.property(
      fc.array(arbitraryFrame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (list, cuts) => {
        const stream = Buffer.concat(list.map((f) => frame(f.streamId, f.type, f.flags, f.payload)));
        const { decoder, frames } = record();
        let offset = 0;
        for (const cut of cuts) {
          decoder.push(Uint8Array.from(stream.subarray(offset, offset + cut)));
          offset += cut;
        }
        decoder.push(Uint8Array.from(stream.subarray(offset)));
        assert.deepEqual(
          frames,
          list.map((f) => ({ ...f, payload: hex(f.payload) })),
        );
      },
    ),
  );
});

test("the largest payload passes; a larger one is reported at once and discarded", () => {
  const { decoder, frames, oversize } = record();
  decoder.push(frame(1, 1, 0, new Uint8Array(MAX_PAYLOAD)));
  assert.equal(frames.length, 1);
  const header = new Uint8Array(HEADER_LENGTH);
  writeHeader(header, MAX_PAYLOAD + 1, 3, 1, 0);
  decoder.push(header);
  assert.deepEqual(oversize, [[3, 1, MAX_PAYLOAD + 1]]);
  const chunk = new Uint8Array(100_003).fill(0xee);
  let left = MAX_PAYLOAD + 1;
  while (left > 0) {
    decoder.push(chunk.subarray(0, Math.min(left, chunk.length)));
    left -= chunk.length;
  }
  decoder.push(frame(5, 2, 0, bytes("aa")));
  assert.deepEqual(frames[1], { streamId: 5, type: 2, flags: 0, payload: "aa" });
});

test("a length of 4 GiB allocates nothing", () => {
  const { decoder, frames, oversize } = record();
  const before = process.memoryUsage().arrayBuffers;
  decoder.push(bytes("ffffffff 00000001 01 00"));
  for (let i = 0; i < 100; i++) decoder.push(new Uint8Array(1000));
  assert.deepEqual(oversize, [[1, 1, 0xffffffff]]);
  assert.equal(frames.length, 0);
  assert.ok(process.memoryUsage().arrayBuffers - before < MAX_PAYLOAD);
});
