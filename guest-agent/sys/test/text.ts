import { decode, encode, equal, runAll, test } from "./harness.ts";

test("encoding and decoding round-trips", () => {
  for (const text of ["", "plain", "äöü ß €", "😀 mixed 中文", "\0nul", "a".repeat(100_000)])
    equal(decode(encode(text)), text);
  equal([...encode("€😀")], [0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
});

test("lone surrogates become U+FFFD", () => {
  equal([...encode("a\ud800b")], [0x61, 0xef, 0xbf, 0xbd, 0x62]);
  equal([...encode("\udc00")], [0xef, 0xbf, 0xbd]);
});

test("malformed input becomes U+FFFD as in the Encoding Standard", () => {
  const cases: [number[], string][] = [
    [[0x61, 0x80, 0x62], "a\ufffdb"],
    [[0xc0, 0xaf], "\ufffd\ufffd"],
    [[0xe2, 0x82], "\ufffd"],
    [[0xe2, 0x82, 0x41], "\ufffdA"],
    [[0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
    [[0xf4, 0x90, 0x80, 0x80], "\ufffd\ufffd\ufffd\ufffd"],
    [[0xf0, 0x9f, 0x98, 0xf0, 0x9f, 0x98, 0x80], "\ufffd😀"],
    [[0xff], "\ufffd"],
  ];
  for (const [bytes, text] of cases) equal(decode(new Uint8Array(bytes)), text, bytes.join());
});

test("a leading byte order mark is removed, unless ignoreBOM is set", () => {
  const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xef, 0xbb, 0xbf]);
  equal(decode(bytes), "a\ufeff");
  equal(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), "\ufeffa\ufeff");
});

test("with fatal, malformed input throws, and the decoder can be used again", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let error: unknown;
  try {
    decoder.decode(new Uint8Array([0x61, 0xff]));
  } catch (thrown) {
    error = thrown;
  }
  equal(error instanceof TypeError, true);
  equal(decoder.decode(encode("fine ä")), "fine ä");
});

test("a stream is decoded one byte at a time", () => {
  const decoder = new TextDecoder();
  let text = "";
  for (const byte of encode("ä€😀x")) text += decoder.decode(new Uint8Array([byte]), { stream: true });
  equal(text + decoder.decode(), "ä€😀x");
  equal(decoder.decode(new Uint8Array([0xe2]), { stream: true }), "");
  equal(decoder.decode(), "\ufffd");
});

test("views and buffers are decoded", () => {
  const bytes = encode("0123456789");
  equal(decode(bytes.subarray(3, 6)), "345");
  equal(new TextDecoder().decode(bytes.buffer as ArrayBuffer), "0123456789");
  equal(new TextDecoder().decode(), "");
});

await runAll();
