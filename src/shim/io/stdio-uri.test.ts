import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOutputUri } from "./stdio-uri.ts";

test("parses every form of a stdout value", () => {
  assert.deepEqual(parseOutputUri(""), { kind: "none" });
  assert.deepEqual(parseOutputUri("/run/fifo/a b"), { kind: "fifo", path: "/run/fifo/a b" });
  assert.deepEqual(parseOutputUri("fifo:///run/x"), { kind: "fifo", path: "/run/x" });
  assert.deepEqual(parseOutputUri("file:///var/log/a%20b?x=1"), { kind: "file", path: "/var/log/a b" });
  assert.deepEqual(parseOutputUri("binary:///bin/l?b=1&a=2&b=3&c"), {
    kind: "logger",
    path: "/bin/l",
    args: ["b", "1", "a", "2", "c", ""],
    mustReport: false,
  });
  assert.equal(parseOutputUri("binary-v2:///bin/l").kind, "logger");
});

test("any other stdout value is InvalidArgument", () => {
  for (const value of [
    "x",
    "http://h/x",
    "npipe:////./pipe/x",
    "binary://bin/x%zz",
    "file:relative",
    "file:///a%00b",
  ]) {
    assert.throws(() => parseOutputUri(value), { code: "InvalidArgument" }, value);
  }
  const long = "x".repeat(100_000);
  for (const value of [long, `${long}:///a`]) {
    assert.throws(
      () => parseOutputUri(value),
      (error: Error) => error.message.length < 1_000,
      "the message contains the whole value",
    );
  }
});
