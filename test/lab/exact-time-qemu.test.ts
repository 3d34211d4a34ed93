import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { withoutRepeatedInterrupts } from "./exact-time-qemu.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");
const FLAGS = "c7833435000000000000 48c7838834 0000ffffffff";
const INTR = bytes(`89b350c2ffff ${FLAGS}`);
/** An exception: the same stores, the first from another register. */
const EXCEPTION = bytes(`4489a350c2ffff ${FLAGS}`);

describe("the QEMU for exact time", () => {
  it("does not keep the vector of an interrupt that was injected, and is otherwise the same", () => {
    const program = Buffer.concat([bytes("4c89e0"), EXCEPTION, INTR, bytes("ba01000000")]);
    const fixed = withoutRepeatedInterrupts(program);
    const place = program.indexOf(INTR);
    assert.deepEqual(fixed.subarray(place, place + 6), bytes("660f1f440000"));
    assert.deepEqual(fixed.subarray(place + 6), program.subarray(place + 6));
    assert.deepEqual(fixed.subarray(0, place), program.subarray(0, place));
  });

  it("is refused if there is not exactly one such place", () => {
    assert.throws(() => withoutRepeatedInterrupts(EXCEPTION), /0 places match/);
    assert.throws(() => withoutRepeatedInterrupts(Buffer.concat([INTR, INTR])), /2 places match/);
  });
});
