import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeAck, encodeRequest, linkUp, RTM_NEWLINK } from "./netlink.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const ack = (sequence: number, errno: number): Uint8Array => {
  const message = new Uint8Array(36);
  const view = new DataView(message.buffer);
  view.setUint16(4, 2, true);
  view.setUint32(8, sequence, true);
  view.setInt32(16, -errno, true);
  return message;
};

describe("netlink", () => {
  it("encodes the request that `ip link set lo up` sends", () => {
    assert.equal(
      hex(encodeRequest(RTM_NEWLINK, 7, linkUp(1))),
      "20000000" +
        "1000" +
        "0500" +
        "07000000" +
        "00000000" +
        "00000000" +
        "01000000" +
        "01000000" +
        "01000000",
    );
  });

  it("reads the errno of its own acknowledgement only", () => {
    assert.equal(decodeAck(ack(7, 0), 7), 0);
    assert.equal(decodeAck(ack(7, 19), 7), 19);
    assert.equal(decodeAck(ack(8, 0), 7), undefined);
    assert.equal(decodeAck(new Uint8Array(8), 7), undefined);
  });
});
