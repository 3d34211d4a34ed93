import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDeps, unusedNames, violation } from "./deps.ts";

const allowed = parseDeps(`# comment
core:
ttrpc: core
pod: core host sandbox/sandbox.ts # why
shim: core pod
shim/io: core shim/log.ts
`);

describe("check-deps", () => {
  it("reads DEPS.list", () => {
    assert.deepEqual([...(allowed.get("pod") ?? [])], ["core", "host", "sandbox/sandbox.ts"]);
    assert.deepEqual([...(allowed.get("core") ?? ["absent"])], []);
    assert.throws(() => parseDeps("no colon"), /cannot read/);
    assert.throws(() => parseDeps("pod: core: host"), /cannot read/);
    assert.throws(() => parseDeps("pod: core\npod: host"), /two lines for pod/);
  });

  it("reports names that no import needs", () => {
    const imports = new Map([
      ["src/pod/pod.ts", ["../core/errors.ts", "../host/kill.ts", "../sandbox/boot.ts"]],
      ["src/shim/shim.ts", ["../core/errors.ts", "../pod/pod.ts"]],
      ["src/shim/io/logger.ts", ["../log.ts"]],
      ["src/ttrpc/frame.ts", ["../core/errors.ts"]],
    ]);
    assert.deepEqual(unusedNames(allowed, imports), [
      "DEPS.list: pod: nothing there imports sandbox/sandbox.ts",
      "DEPS.list: shim/io: nothing there imports core",
    ]);
  });

  const accepted: [string, string][] = [
    ["src/pod/pod.ts", "../core/errors.ts"],
    ["src/pod/pod.ts", "./process.ts"],
    ["src/pod/deep/pod.ts", "../process.ts"],
    ["src/pod/pod.ts", "node:fs"],
    ["src/pod/deep/pod.ts", "../../sandbox/sandbox.ts"],
    ["src/shim/shim.ts", "./io/logger.ts"],
    ["src/shim/io/logger.ts", "../log.ts"],
    ["src/shim/io/deep/x.ts", "../logger.ts"],
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
    ["src/pod/pod.ts", "../sandbox/boot.ts", /may not import src\/sandbox\/boot/],
    ["src/shim/io/logger.ts", "../shim.ts", /src\/shim\/io may not import src\/shim\/shim.ts/],
    ["src/shim/io/logger.ts", "../../pod/pod.ts", /src\/shim\/io may not import src\/pod/],
    ["src/shim/iota/x.ts", "../../sandbox/x.ts", /src\/shim may not import/],
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
