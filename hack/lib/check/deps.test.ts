import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDeps, violation } from "./deps.ts";

const allowed = parseDeps("# comment\ncore:\nttrpc: core\npod: core host # why\n");

describe("check-deps", () => {
  it("reads DEPS.list", () => {
    assert.deepEqual([...(allowed.get("pod") ?? [])], ["core", "host"]);
    assert.deepEqual([...(allowed.get("core") ?? ["absent"])], []);
    assert.throws(() => parseDeps("no colon"), /cannot read/);
  });

  const accepted: [string, string][] = [
    ["src/pod/pod.ts", "../core/errors.ts"],
    ["src/pod/pod.ts", "./process.ts"],
    ["src/pod/deep/pod.ts", "../process.ts"],
    ["src/pod/pod.ts", "node:fs"],
    ["src/ttrpc/node/transport.ts", "node:net"],
    ["src/ttrpc/node/transport.ts", "../frame.ts"],
    ["guest-agent/src/main.ts", "../../src/ttrpc/server.ts"],
  ];
  for (const [file, specifier] of accepted) {
    it(`accepts ${specifier} in ${file}`, () => assert.equal(violation(file, specifier, allowed), undefined));
  }

  const refused: [string, string, RegExp][] = [
    ["src/core/errors.ts", "../pod/pod.ts", /may not import src\/pod/],
    ["src/pod/pod.ts", "../shim/x.ts", /may not import src\/shim/],
    ["src/pod/pod.ts", "../../test/testkit/x.ts", /outside src/],
    ["src/new/x.ts", "../core/errors.ts", /not in DEPS.list/],
    ["src/ttrpc/frame.ts", "node:net", /guest's engine/],
    ["src/ttrpc/frame.ts", "fs", /guest's engine/],
    ["src/ttrpc/frame.ts", "./node/transport.ts", /needs Node/],
    ["guest-agent/src/main.ts", "../../src/pod/pod.ts", /may not import/],
    ["guest-agent/src/main.ts", "node:fs", /guest's engine/],
  ];
  for (const [file, specifier, message] of refused) {
    it(`refuses ${specifier} in ${file}`, () =>
      assert.match(violation(file, specifier, allowed) ?? "", message));
  }
});
