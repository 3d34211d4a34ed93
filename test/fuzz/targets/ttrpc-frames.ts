import assert from "node:assert/strict";
import { FrameDecoder, HEADER_LENGTH, MAX_PAYLOAD, writeHeader } from "../../../src/ttrpc/frame.ts";
import { piecesOf } from "../engine/pieces.ts";
import type { Target } from "../engine/target.ts";

function frame(id: number, type: number, flags: number, payload: string): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  writeHeader(header, payload.length, id, type, flags);
  return Buffer.concat([header, Buffer.from(payload)]);
}

/** Decodes and re-encodes frames; each must be unchanged. */
function framesIn(pieces: readonly Uint8Array[]): { whole: Buffer[]; oversize: number[] } {
  const whole: Buffer[] = [];
  const oversize: number[] = [];
  const decoder = new FrameDecoder({
    frame: (id, type, flags, payload) => {
      const header = Buffer.alloc(HEADER_LENGTH);
      writeHeader(header, payload.length, id, type, flags);
      whole.push(Buffer.concat([header, payload]));
    },
    oversize: (_id, _type, length) => oversize.push(length),
  });
  for (const piece of pieces) decoder.push(piece);
  return { whole, oversize };
}

/**
 * The frame layer: the decoded frames do not depend on how the input is split, and re-encode to the input.
 */
export const ttrpcFrames: Target = {
  name: "ttrpc-frames",
  seeds: [
    Buffer.concat([
      frame(1, 1, 0, "request"),
      frame(3, 3, 4, ""),
      frame(1, 2, 1, "answer"),
      frame(5, 3, 0, "d"),
    ]),
    Buffer.concat([frame(2 ** 32 - 1, 255, 255, "x".repeat(300)), frame(7, 1, 2, "y")]),
  ],
  tokens: ["\0\0\0\0", "\0\0\0\x01\0\0\0\x01\x03\0", "\x7f\xff\xff\xff"],
  run(input) {
    const found = framesIn([input]);
    assert.deepEqual(framesIn(piecesOf(input)), found, "another cut gives other frames");
    for (const length of found.oversize) assert.ok(length > MAX_PAYLOAD);
    if (found.oversize.length > 0) return false;
    const joined = Buffer.concat(found.whole);
    assert.deepEqual(joined, input.subarray(0, joined.length), "the frames are not what came in");
    return found.whole.length > 0;
  },
};
