import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytes, hex } from "../../test/testkit/ttrpc/hex.ts";
import { HullError } from "../core/errors.ts";
import { KeyValue, Request, Response } from "../proto/generated/ttrpc/ttrpc.ts";
import { decodeRequest, decodeResponse, encodeRoute, FrameEncoder } from "./envelope.ts";
import { HEADER_LENGTH, MAX_PAYLOAD } from "./frame.ts";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const metadata = fc.dictionary(
  fc.string({ unit: fc.constantFrom("a", "b", "-"), minLength: 1 }),
  fc.array(text, { minLength: 1, maxLength: 3 }),
);

test("a request frame, byte for byte", () => {
  const frame = new FrameEncoder().request(
    1,
    0,
    encodeRoute("s.S", "Do"),
    KeyValue,
    { key: "k", value: "" },
    5_000_000_000,
    new Map([["ns", ["x"]]]),
  );
  assert.equal(
    hex(frame),
    hex(
      bytes(
        "0000001d 00000001 01 00  0a03 732e53  1202 446f  1a03 0a016b  20 80e497d012  2a07 0a026e73 120178",
      ),
    ),
  );
});

test("a response frame, a status frame, a data frame and an end, byte for byte", () => {
  const encoder = new FrameEncoder();
  assert.equal(hex(encoder.response(3, KeyValue, { key: "k", value: "" })), "0000000500000003020012030a016b");
  assert.equal(hex(encoder.status(5, 5, "no")), "000000080000000502000a060805" + "12026e6f");
  assert.equal(hex(encoder.data(7, KeyValue, { key: "", value: "v" })), "00000003000000070300120176");
  assert.equal(hex(encoder.end(9)), "00000000000000090305");
});

test("requests are encoded and decoded as by the generated codec", () => {
  fc.assert(
    fc.property(text, text, text, text, fc.nat(), metadata, (service, method, key, value, timeout, pairs) => {
      const map = new Map(Object.entries(pairs));
      const message = { key, value };
      const frame = new FrameEncoder().request(
        1,
        2,
        encodeRoute(service, method),
        KeyValue,
        message,
        timeout,
        map,
      );
      const generated = Request.decode(frame.subarray(HEADER_LENGTH));
      assert.deepEqual(
        { service: generated.service, method: generated.method, timeout: generated.timeoutNano },
        { service, method, timeout: BigInt(timeout) },
      );
      assert.deepEqual(KeyValue.decode(generated.payload), message);
      const decoded = decodeRequest(Request.encode(generated).finish());
      assert.deepEqual(decoded.metadata, map);
      assert.deepEqual([decoded.service, decoded.method, decoded.timeoutNano], [service, method, timeout]);
      assert.deepEqual(KeyValue.decode(decoded.payload ?? new Uint8Array()), message);
    }),
  );
});

test("responses are encoded and decoded as by the generated codec, without the details", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), text, fc.uint8Array(), (code, message, payload) => {
      const frame = new FrameEncoder().status(1, code, message);
      assert.deepEqual(Response.decode(frame.subarray(HEADER_LENGTH)).status, { code, message, details: [] });
      const details = [{ typeUrl: "a", value: payload }];
      const encoded = Response.encode({ status: { code, message, details }, payload }).finish();
      const decoded = decodeResponse(encoded);
      assert.deepEqual([decoded.code, decoded.message, hex(decoded.payload)], [code, message, hex(payload)]);
    }),
  );
});

test("random bytes are decoded or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
      for (const decode of [decodeRequest, decodeResponse]) {
        try {
          decode(garbage);
        } catch (thrown) {
          assert.ok(thrown instanceof Error);
        }
      }
    }),
    { numRuns: 1000 },
  );
});

test("metadata keys are lower case, negative timeouts are kept, too many pairs are refused", () => {
  const request = { service: "", method: "", payload: new Uint8Array(), timeoutNano: -1n };
  const pair = { key: "NameSpace", value: "x" };
  const two = decodeRequest(Request.encode({ ...request, metadata: [pair, pair] }).finish());
  assert.deepEqual(two.metadata, new Map([["namespace", ["x", "x"]]]));
  assert.equal(two.timeoutNano, -1);
  const many = Request.encode({ ...request, metadata: Array(257).fill(pair) }).finish();
  assert.throws(() => decodeRequest(many), /metadata/);
});

test("a message larger than a frame is refused, and the encoder stays usable", () => {
  const encoder = new FrameEncoder();
  assert.throws(
    () => encoder.response(1, KeyValue, { key: "x".repeat(MAX_PAYLOAD), value: "" }),
    (error) => error instanceof HullError && error.code === "ResourceExhausted",
  );
  assert.throws(() => encoder.response(1, KeyValue, undefined as never), TypeError);
  assert.equal(hex(encoder.response(3, KeyValue, { key: "k", value: "" })), "0000000500000003020012030a016b");
});

test("an error message of any length fits a frame", () => {
  assert.ok(new FrameEncoder().status(1, 2, "€".repeat(5_000_000)).length < MAX_PAYLOAD);
});
